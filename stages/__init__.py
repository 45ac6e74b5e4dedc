"""One module per DVC stage, each one Typer command, and the console that mounts them."""
