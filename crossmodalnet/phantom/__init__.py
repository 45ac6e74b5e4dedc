"""Generate the whole-heart phantom: anatomy, scanners, protocols."""
