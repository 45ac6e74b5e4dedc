"""`crossmodalnet data`: check data before anything runs."""

import logging
from typing import Annotated

import typer

logger = logging.getLogger(__name__)

app = typer.Typer(no_args_is_help=True)


@app.callback()
def data() -> None:
    """Check data before anything runs."""


@app.command()
def check(
    path: Annotated[
        str | None, typer.Argument(help="a table (CSV), a folder laid out for nnU-Net or like MM-WHS, or a zip archive")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="meaning of label values, as data.labels: a name, or '{LV: 1, Myo: 2}'")
    ] = None,
    missing: Annotated[
        list[str] | None, typer.Option(help="a structure that is not delineated, as in data.missing")
    ] = None,
) -> None:
    """List the scans, volumes, pairs and roles of PATH and every fault, and draw the labels; data/ is not changed.

    Omitted options and the split come from params.yaml. Exit code 3 on faults.
    """
    from pipeline.cohort.integrity import require_sound
    from pipeline.cohort.preview import params_for, preview
    from pipeline.config.params import load_section, read_raw
    from pipeline.config.sections import SplitConfig
    from pipeline.runtime.workers import RuntimeConfig

    params = params_for(path, labels, missing or [], section=read_raw().get("data") or {})
    split, runtime = load_section(SplitConfig, "split"), load_section(RuntimeConfig, "runtime")
    lines, findings = preview(params, split, runtime)
    typer.echo("\n".join(lines))
    require_sound(findings)
    verdict = "no error, but warnings to look at" if findings else "no fault found"
    logger.info("%s: set data.source, data.path and data.labels, then run `dvc repro`; see docs/own_data.md", verdict)
