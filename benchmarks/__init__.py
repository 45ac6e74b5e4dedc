"""Measurements, run by hand; docs/results/performance.md holds their results."""
