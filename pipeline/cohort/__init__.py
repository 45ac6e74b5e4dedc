"""Read, check and split a cohort."""
