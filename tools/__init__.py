"""Helpers of the developers, run through make."""
