"""State: migrations, transactions, records."""
