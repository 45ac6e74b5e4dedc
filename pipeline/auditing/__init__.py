"""The audit of the paper's statements on a trained model."""
