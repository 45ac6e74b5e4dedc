"""The typed sections of params.yaml, one module per stage that reads them."""
