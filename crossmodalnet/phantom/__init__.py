"""The whole-heart phantom: anatomy, scanners, protocols."""
