"""Read intelligence feeds as facts: OSV, STIX, plain lists, signed snapshots; compute changes."""
