"""Replays of real incidents as event streams, each with what must come out.

Each module offers `events(root)`, `intel()`, `policies(root)` and `expected`; model files that
the events name are written below `root` by `events`. Names of tenants are invented; times are
moved into one November, the order and distances are those of the incident.
"""
