"""Residual-encoder U-Net of nnU-Net (Isensee et al. 2024)."""
