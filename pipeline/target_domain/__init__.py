"""Preparing the domain that an adaptation adapts to."""
