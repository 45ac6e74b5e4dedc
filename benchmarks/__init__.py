"""Measurements, run by hand; docs/benchmarks.md holds their results."""
