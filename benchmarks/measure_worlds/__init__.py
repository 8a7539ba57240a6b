"""The parts of benchmarks/worlds.py."""
