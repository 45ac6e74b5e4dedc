"""The `crossmodalnet` console command: the stages, and what helps around them."""

import logging
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from types import FrameType

import typer

from crossmodalnet.processes import remove_stale, what_is_lacking
from pipeline.runtime.console import setup_logging
from pipeline.runtime.errors import PipelineError, ResourceError, UsageError
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
# Exit codes of a program that a signal has ended, as shells have them.
INTERRUPTED = (128 + signal.SIGINT, 128 + signal.SIGTERM)
# Options whose empty value says something.
MAY_BE_EMPTY = ("--mirror",)

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
        with _ending_on_sigterm():
            _check_none_empty(sys.argv[1:])
            remove_stale()
            app()
    except SystemExit as end:
        if end.code in INTERRUPTED:
            logging.getLogger("stages").error("interrupted: nothing half-written is left")
        raise
    except PipelineError as error:
        logging.getLogger("stages").error("error: %s", error)
        sys.exit(error.exit_code)
    except Exception as error:
        if (lacking := what_is_lacking(error)) is None:
            raise
        logging.getLogger("stages").error("error: %s", lacking)
        sys.exit(ResourceError.exit_code)


@contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """Let SIGTERM, which schedulers and `timeout` send, end the program as Ctrl-C does: it tidies up on the way."""

    def end(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _check_none_empty(arguments: Sequence[str]) -> None:
    """Refuse an empty argument: an unset variable of a shell, which as a path would mean the current folder.

    Raises:
        UsageError: an argument is empty where it cannot be meant.
    """
    for before, argument in pairwise(["", *arguments]):
        option, sign, value = argument.partition("=")
        if not (sign and option.startswith("--")):
            option, value = before, argument
        if not value and option not in MAY_BE_EMPTY:
            what = f"option {option}" if option.startswith("--") else "an argument"
            raise UsageError(f"{what} is empty: is a variable of the shell not set?")
