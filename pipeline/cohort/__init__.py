"""Sources, tables and integrity of a cohort; its pairs and their split."""
