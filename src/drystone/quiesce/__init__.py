"""Holding applications and file systems still for an instant."""
