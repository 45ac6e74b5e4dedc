"""Training data, augmentation, objectives, balancing and domain adaptation: the parts of one training step."""
