"""Check the paper's claims on a trained network, one module per group of claims."""
