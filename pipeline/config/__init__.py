"""The sections of params.yaml, its presets and the checks between sections."""
