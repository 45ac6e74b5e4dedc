"""MedNeXt (Roy et al. 2023)."""
