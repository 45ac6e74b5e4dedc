"""Whole-heart segmentation from a patient's CT and MRI together."""

__version__ = "0.1.0"
