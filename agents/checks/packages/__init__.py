"""Package installs: pinning, known bad releases, names, origins, attestations."""
