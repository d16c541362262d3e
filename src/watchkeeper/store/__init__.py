"""What journal and ledger share below their formats: one SQLite file as a durable store."""
