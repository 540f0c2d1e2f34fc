"""Scanning for the command line: targets, parallel work, cache and suppressions."""
