"""Provenance of a pushed model: files, source, signatures, names, claims."""
