"""Which scans there are, which make a pair, and who trains, validates and tests."""
