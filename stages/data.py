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
        str | None,
        typer.Argument(help="a table (CSV), a folder laid out for nnU-Net or like MM-WHS, or a zip archive"),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="meaning of label values, as data.labels: a name, or '{LV: 1, Myo: 2}'")
    ] = None,
    missing: Annotated[
        list[str] | None, typer.Option(help="a structure that is not delineated, as in data.missing")
    ] = None,
) -> None:
    """Tell which scans, pairs and roles PATH would give, and all that is wrong; data/ is not touched.

    What is left out is as in params.yaml, the split too. Exit code 3 where something is wrong.
    """
    from pipeline.cohort.integrity import require_sound
    from pipeline.cohort.preview import params_for, preview
    from pipeline.config.params import load_section, read_raw
    from pipeline.config.sections import SplitConfig
    from pipeline.runtime.workers import RuntimeConfig

    params = params_for(path, labels, missing or [], read=read_raw().get("data") or {})
    found = preview(params, load_section(SplitConfig, "split"), load_section(RuntimeConfig, "runtime"))
    for line in found.lines():
        typer.echo(line)
    require_sound(found.findings)
    logger.info("sound: set data.source and data.path, then run `dvc repro`; see docs/own_data.md")
