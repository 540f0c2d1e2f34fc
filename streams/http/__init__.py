"""What the HTTP servers share: a bounded server, error documents, bodies, tokens, access logs."""
