"""Reading by URI, within what a tenant may reach: ranges, digests and listings."""
