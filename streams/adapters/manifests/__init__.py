"""Manifests of packages (requirements, locks, inventories, reports) as package-install events."""
