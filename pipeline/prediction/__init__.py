"""Predict one patient or many; export models."""
