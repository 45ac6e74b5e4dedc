"""`crossmodalnet data`: look at data before anything runs."""

import logging
from typing import Annotated

import typer

logger = logging.getLogger(__name__)

app = typer.Typer(help="Look at data before anything runs.", no_args_is_help=True)


@app.callback()
def data() -> None:
    """Look at data before anything runs."""


@app.command()
def check(
    path: Annotated[
        str,
        typer.Argument(help="a table (CSV), a folder laid out for nnU-Net or like MM-WHS, or a zip archive"),
    ] = "",
) -> None:
    """Tell which scans, pairs and roles PATH would give, and all that is wrong; data/ is not touched.

    PATH is data.path where it is left out. Meaning of labels, missing structures and the split are those of
    params.yaml. Exit code 3 where something is wrong.
    """
    from pipeline.cases.params import SplitParams
    from pipeline.common.errors import UsageError
    from pipeline.common.params import load_section
    from pipeline.sources.findings import require_sound
    from pipeline.sources.params import DataParams
    from pipeline.sources.preview import preview

    params = load_section(DataParams, "data")
    given = path or params.path
    if not isinstance(given, str):
        raise UsageError("nothing to look at: give a path, `crossmodalnet data check PATH`, or set data.path")
    found = preview(params, given, load_section(SplitParams, "split"))
    for line in found.lines():
        typer.echo(line)
    require_sound(found.findings)
    logger.info("sound: set data.source and data.path, then run `dvc repro`; see docs/own_data.md")
