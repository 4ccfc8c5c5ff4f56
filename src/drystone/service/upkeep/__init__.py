"""The store looked after: verified, collected, compacted, swept, recovered."""
