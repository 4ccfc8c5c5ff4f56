"""Bytes to values and back: packs, maps, manifests, checkpoints, NBD frames; no I/O (floor 1)."""
