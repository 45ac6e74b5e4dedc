"""Sizes of grid, patch and network from the hearts of a cohort and the memory of a machine."""
