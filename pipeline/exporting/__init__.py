"""Model folders that predict without this repository."""
