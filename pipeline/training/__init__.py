"""Training a network: cases, what is minimised beside the objectives, the loop of epochs, curves."""
