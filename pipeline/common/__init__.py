"""What every stage knows and runs on: errors, names, places, parameters, pairs, console, outputs, resumable work."""
