"""Section: the paper's statements."""
