"""Benchmarks of speed and cost: `make perf`. They print ratios of values measured in one run and test nothing."""
