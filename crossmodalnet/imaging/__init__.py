"""Volumes and label maps: reading, writing, geometry, intensities, and the structures of the heart."""
