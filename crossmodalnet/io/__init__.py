"""Outputs that appear whole, the console, and untrusted archives and tables."""
