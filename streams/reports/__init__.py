"""Write scans and incidents in the formats that people and programs read."""
