"""Drystone: cloud block storage that people run themselves."""
