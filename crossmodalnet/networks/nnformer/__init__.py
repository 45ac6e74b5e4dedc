"""nnFormer (Zhou et al. 2023)."""
