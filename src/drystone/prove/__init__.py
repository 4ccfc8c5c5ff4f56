"""Proofs that a snapshot opens: what a guest wrote is parsed and run in a virtual machine that is thrown away."""
