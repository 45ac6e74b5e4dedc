"""Cases side by side: in worker processes of this machine, or on a cluster of the user's."""
