"""Fit grid, patch and network size to the hearts of a cohort and the memory of a machine."""
