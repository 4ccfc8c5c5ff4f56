"""Object stores and their decorators (floor 1)."""
