"""The gateway: writes what producers send over HTTP to the event topics."""
