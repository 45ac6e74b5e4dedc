"""`crossmodalnet summary`: print the results in a few lines."""

from typing import Annotated

import typer


def main(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="print Markdown tables of all methods, for a document")
    ] = False,
) -> None:
    """Print the mean results of every model and the atlas baseline, and the report's path."""
    from rich.console import Console

    from pipeline.comparison.tables import markdown_tables, print_summary

    if markdown:
        typer.echo(markdown_tables())
    else:
        print_summary(Console())
