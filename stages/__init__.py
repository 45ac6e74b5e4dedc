"""Define one Typer command per DVC stage, and the console that mounts them."""
