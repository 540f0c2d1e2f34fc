"""Reports components already in use, as events that the ledger records without alerts."""
