"""What every stage knows: kinds of errors, names, places and how parameters are read."""
