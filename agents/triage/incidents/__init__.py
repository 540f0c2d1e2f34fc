"""Incidents: what was found, whom it reaches, what is done about it, and how that went."""
