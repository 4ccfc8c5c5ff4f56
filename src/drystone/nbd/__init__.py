"""NBD: client by libnbd, and a small server (floor 1)."""
