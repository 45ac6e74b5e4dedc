"""Parts that networks share: building by name, windows, padding, parameters, sliding windows."""
