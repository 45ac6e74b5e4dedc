"""Devices, processes and determinism of PyTorch."""
