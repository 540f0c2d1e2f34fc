"""Read artifacts by URI within a tenant's allow-list: ranges, digests, listings."""
