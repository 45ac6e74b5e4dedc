"""Objectives of training and how they are balanced."""
