"""Wire records, their JSON Schema, and the standard documents built from them."""
