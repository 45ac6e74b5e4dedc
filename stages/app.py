"""The `crossmodalnet` console command: the stages, and what helps around them."""

import logging
import sys

import typer

from crossmodalnet.processes.lacking import what_is_lacking
from crossmodalnet.processes.scratch import remove_stale
from pipeline.common.console import setup_logging
from pipeline.common.errors import PipelineError, ResourceError
from stages import (
    atlas,
    audit,
    check,
    compare,
    crop,
    data,
    doctor,
    download,
    evaluate,
    export,
    models,
    params,
    pool,
    predict,
    profile,
    register,
    report,
    split,
    summary,
    target,
    train,
    tune,
)

STAGES = "Stages of the pipeline (run by `dvc repro`)"
USE = "New patients"
TOOLS = "Tools"

app = typer.Typer(
    help="Whole-heart segmentation from a patient's CT and MRI together.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for stage in (
    check, download, register, split, crop, target, tune, train, evaluate, atlas, profile, audit, compare, report,
    export,
):  # fmt: skip
    app.command(stage.__name__.rpartition(".")[2], rich_help_panel=STAGES)(stage.main)
app.command("predict", rich_help_panel=USE)(predict.main)
app.add_typer(models.app, name="models", rich_help_panel=USE)
app.add_typer(params.app, name="params", rich_help_panel=TOOLS)
app.add_typer(data.app, name="data", rich_help_panel=TOOLS)
app.command("doctor", rich_help_panel=TOOLS)(doctor.main)
app.command("pool", rich_help_panel=TOOLS)(pool.main)
app.command("summary", rich_help_panel=TOOLS)(summary.main)


def main() -> None:
    """Run the command line; an error of the pipeline becomes a message and its exit code."""
    setup_logging()
    try:
        remove_stale()
        app()
    except PipelineError as error:
        logging.getLogger("stages").error("error: %s", error)
        sys.exit(error.exit_code)
    except Exception as error:
        if (lacking := what_is_lacking(error)) is None:
            raise
        logging.getLogger("stages").error("error: %s", lacking)
        sys.exit(ResourceError.exit_code)
