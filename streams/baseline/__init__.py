"""What is there already, as events from which the ledger learns and nobody is alerted."""
