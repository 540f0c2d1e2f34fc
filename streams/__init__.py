"""How events move: apps, topics, transport, tables, dead letters, adapters, broker, commands."""
