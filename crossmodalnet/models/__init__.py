"""A trained network on disk: its card, its weights, and how it is read."""
