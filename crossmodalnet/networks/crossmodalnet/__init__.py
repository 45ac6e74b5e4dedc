"""CrossModalNet, the paper's network, and its parts."""
