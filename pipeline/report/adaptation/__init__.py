"""Section: adaptation to another domain."""
