"""A story of several tenants to try Tidewatch on, and what stories are told with."""

from streams.demo.story import Story, facts, policies, story

__all__ = ["Story", "facts", "policies", "story"]
