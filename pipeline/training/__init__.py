"""Trainer, learner, checkpoints, processes and tuning."""
