"""Benchmarks: `make bench` measures everything side by side; the other files are run by themselves."""
