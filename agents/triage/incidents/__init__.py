"""Incidents: findings, affected tenants and systems, actions and their outcomes."""
