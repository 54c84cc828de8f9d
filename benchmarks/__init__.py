"""Benchmarks: each prints ratios from a single run. See README.md."""
