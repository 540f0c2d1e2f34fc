"""The gateway: what producers send over HTTP, on the topics of events."""
