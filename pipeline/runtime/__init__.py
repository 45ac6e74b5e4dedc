"""Workers, resumable work, outputs, console, errors and paths."""
