"""Standard documents built from wire records: OCSF, ECS, STIX, OpenC2, MISP."""
