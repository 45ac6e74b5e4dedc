"""PrimusV2 (Wald et al. 2025)."""
