"""The target domain of the adaptation: its images without labels, and its labels apart from them."""
