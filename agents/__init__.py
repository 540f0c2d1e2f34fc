"""Thin agents that process events, and the pure logic they call."""
