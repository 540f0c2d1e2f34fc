"""Incidents on the wire: updates, containment commands, and the views documents are built from."""
