"""Tests of the benchmark program itself."""
