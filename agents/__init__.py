"""What happens to an event: thin agents and the pure logic they call."""
