"""Holds: what is contained of one component of one tenant, and when it is released."""
