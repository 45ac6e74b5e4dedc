"""Predict, score, profile and audit trained models."""
