"""Notifications: which message is sent to whom, when, and its text."""
