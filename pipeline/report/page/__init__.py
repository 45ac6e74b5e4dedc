"""The page: all sections in one file."""
