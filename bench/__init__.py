"""Benchmarks: `./dev bench`, or `python -m bench` from the root of the repository."""
