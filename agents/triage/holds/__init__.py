"""Holds: what is contained of a tenant's component, and when it is released."""
