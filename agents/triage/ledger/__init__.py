"""The component ledger: who saw which component, what was made from it, what is known of it."""
