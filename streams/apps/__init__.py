"""The stream applications and the topology that binds their agents to topics."""
