"""Telling people: which message goes to whom, when, and what it says."""
