"""Volumes: reading, writing, geometry, intensities, registration, the phantom."""
