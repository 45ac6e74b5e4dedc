"""Section: results."""
