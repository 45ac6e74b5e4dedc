"""New patients: what is written of a prediction, one patient or many."""
