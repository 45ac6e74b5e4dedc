"""Find the region of interest without the subject's label, crop to it and restore the original grid."""
