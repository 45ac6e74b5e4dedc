"""Training a network: parameters, cohort, learner, objectives, curves."""
