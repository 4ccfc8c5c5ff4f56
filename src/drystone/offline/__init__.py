"""What is done to a data directory itself, by commands that need no server: check, recover, reconcile, keys."""
