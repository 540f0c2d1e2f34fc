"""The component ledger: sightings of components, their lineage, and the marks on them."""
