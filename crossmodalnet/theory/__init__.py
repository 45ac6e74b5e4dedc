"""The paper's claims, checked on a trained network: one module per group of claims."""
