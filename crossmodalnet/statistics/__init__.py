"""Intervals, tests and ranks of scores."""
