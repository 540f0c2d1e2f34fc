"""Bounded readers that several formats share."""
