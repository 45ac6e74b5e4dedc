"""Cropped cases as they lie on disk, and the sets of them that stages read."""
