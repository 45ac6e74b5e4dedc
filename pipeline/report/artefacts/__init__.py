"""What the report shows, read from the outputs of the other stages into typed records."""
