"""What every stage knows and runs on: errors, names, places, parameters, console, outputs, resumable work."""
