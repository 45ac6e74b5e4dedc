"""Swin-Unet (Cao et al. 2022)."""
