"""Models on disk (weights, card, checkpoints), and the devices and processes of PyTorch that they run on."""
