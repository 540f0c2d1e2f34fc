"""Kafka clients: connections, topics, publishing, reading, dead letters."""
