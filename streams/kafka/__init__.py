"""Kafka as clients use it: connections, topics, publishing, reading, dead letters."""
