"""Shared by the HTTP servers: a bounded server, error documents, bodies, tokens, access logs."""
