"""Pipeline runs: data sources, configuration, behaviour, remote code."""
