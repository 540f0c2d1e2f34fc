"""Checks of installed packages: pins and hashes, names, origins, attestations, intelligence."""
