"""Results in a few lines: on the terminal, and as Markdown tables."""
