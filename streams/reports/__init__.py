"""Reports: findings and incidents as documents for people and tools."""
