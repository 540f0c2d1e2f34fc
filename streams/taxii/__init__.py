"""The TAXII 2.1 server of indicators shared with partners."""
