"""MR to CT, many pairs, resumable."""
