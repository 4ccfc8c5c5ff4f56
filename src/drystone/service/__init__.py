"""Use cases, state machines, transactions, quotas, long operations (floor 3)."""
