"""The terms of JADA, a module each; `registry.py` lists them."""
