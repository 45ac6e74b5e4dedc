"""What networks share: building by name, windows, padding, counting, sliding windows."""
