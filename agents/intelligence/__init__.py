"""Feeds of intelligence as facts: OSV, STIX, lists; snapshots; what changed."""
