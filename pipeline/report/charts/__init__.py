"""What the sections' figures and tables share."""
