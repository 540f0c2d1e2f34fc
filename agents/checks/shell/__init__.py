"""Judges commands of shells, wherever a script, a build, a notebook or a setting holds them."""
