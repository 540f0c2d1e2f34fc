"""Triage: the component ledger, scoring, incidents and containment as pure functions."""
