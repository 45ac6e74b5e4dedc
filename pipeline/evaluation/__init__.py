"""Predictions and scores, the atlas baseline, profile and audit."""
