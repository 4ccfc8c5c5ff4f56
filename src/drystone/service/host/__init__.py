"""This machine: its storage daemons, what is open in them, the snapshot server."""
