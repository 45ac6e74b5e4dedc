"""Scores of a label map against the truth, per structure."""
