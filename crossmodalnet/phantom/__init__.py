"""Generate the whole-heart phantom: anatomy, scanners, protocols."""

from typing import Literal

# Here, because every command reads the parameters, and the phantom itself takes a quarter of a second to import.
Scanner = Literal["reference", "other", "native", "ungated", "enhanced"]
