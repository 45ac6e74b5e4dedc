"""Trained models on disk: weights, card, checkpoints."""
