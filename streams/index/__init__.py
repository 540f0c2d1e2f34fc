"""A front of a package index: known bad, imitating and too young releases are refused."""
