"""A demonstration of several tenants, and the builder of its events."""

from streams.demo.story import Story, facts, policies, story

__all__ = ["Story", "facts", "policies", "story"]
