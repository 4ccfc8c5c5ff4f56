"""Snapshots in an object store: writing, reading, what a deletion frees (floor 2)."""
