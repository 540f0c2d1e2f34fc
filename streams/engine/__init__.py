"""Exact delivery on Faust: transport, runner, tables, ticks, crash-only ends."""
