"""The heart box of many pairs."""
