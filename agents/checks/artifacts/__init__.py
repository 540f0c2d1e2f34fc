"""Model artifacts: parsers over bytes and ranges that never load or run what they read."""
