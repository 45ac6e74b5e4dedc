"""VT-UNet (Peiris et al. 2022)."""
