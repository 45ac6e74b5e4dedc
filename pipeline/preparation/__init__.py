"""Register and crop many cases; prepare the target domain."""
