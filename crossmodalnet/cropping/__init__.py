"""Finding the heart by atlases."""
