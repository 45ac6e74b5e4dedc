"""From a trained model and cases to predictions, scores and tables."""
