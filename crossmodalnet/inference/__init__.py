"""Predict new patients: model folder, sliding window, registration, quality flags, exports."""
