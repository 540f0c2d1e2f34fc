"""What a scan found, in the formats people and programs read."""
