"""Overlap, surface distances and their statistics."""
