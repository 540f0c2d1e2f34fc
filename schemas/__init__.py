"""What goes over the wire: typed records, their JSON Schema, and the standard documents."""
