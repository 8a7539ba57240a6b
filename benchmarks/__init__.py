"""Benchmarks: `make bench` runs all, `python benchmarks/NAME.py --json FILE` one."""
