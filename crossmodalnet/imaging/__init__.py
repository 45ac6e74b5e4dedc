"""Handle volumes and label maps: geometry, reading, writing, header checks, resampling and intensity."""
