"""The network of the paper, from its parts up."""
