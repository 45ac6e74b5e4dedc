"""Short trainings that find a learning rate."""
