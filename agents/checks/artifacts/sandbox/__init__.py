"""Confined scanning processes and the protocol spoken with them."""
