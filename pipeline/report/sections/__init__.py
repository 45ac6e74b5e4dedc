"""Sections of the report: a function that prepares what `<id>.html.jinja` shows, or None to leave the section out."""
