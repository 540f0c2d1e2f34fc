"""Carries out containment: a responder's actions on files, registries and hooks.

Everything here is safe to repeat and safe to kill at any point: each step leaves either the old
state or the new one, and the next run determines which.
"""
