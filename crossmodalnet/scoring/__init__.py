"""Scores of a label map against the truth, per structure; intervals, tests and ranks of the scores of many."""
