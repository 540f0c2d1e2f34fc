"""The TAXII 2.1 server of what is shared with partners."""
