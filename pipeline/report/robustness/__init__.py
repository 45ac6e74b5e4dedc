"""Section: one modality missing, and misregistration."""
