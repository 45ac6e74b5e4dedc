"""Section: the comparison of networks."""
