"""Overlap, surface distances and topology; confidence intervals, tests and ranks."""
