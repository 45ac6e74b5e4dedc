"""params.yaml as a whole: its sections, its text, its presets."""
