"""Measurements, each beside something that runs next to it on the same machine. See docs/benchmarks.md."""
