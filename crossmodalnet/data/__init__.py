"""Cases as tensors: dataset and augmentation."""
