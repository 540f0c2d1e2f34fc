"""A story of several tenants to try Tidewatch on, and the builder it is made with."""

from streams.demo.story import Story, facts, policies, story

__all__ = ["Story", "facts", "policies", "story"]
