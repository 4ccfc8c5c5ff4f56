"""Use cases: what the wire calls."""
