"""Containment carried out: what a responder does to files, registries and hooks on a command.

Everything here is safe to repeat and safe to kill at any point: each step leaves either the old
state or the new one, and finds out on the next run which it was.
"""
