"""Mount the pipeline's stages beside the commands of `crossmodalnet.cli`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crossmodalnet.cli import make_app, run
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
    experiments,
    export,
    params,
    pool,
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
TOOLS = "Tools"

app = make_app()
for stage in (
    check, download, register, split, crop, target, tune, train, evaluate, atlas, profile, audit, compare, report,
    export,
):  # fmt: skip
    app.command(stage.__name__.rpartition(".")[2], rich_help_panel=STAGES)(stage.main)
app.add_typer(params.app, name="params", rich_help_panel=TOOLS)
app.add_typer(data.app, name="data", rich_help_panel=TOOLS)
app.command("doctor", rich_help_panel=TOOLS)(doctor.main)
app.command("experiments", rich_help_panel=TOOLS)(experiments.main)
app.command("pool", rich_help_panel=TOOLS)(pool.main)
app.command("summary", rich_help_panel=TOOLS)(summary.main)


def main() -> None:
    """Run the command line; `predict --cohort` uses the pipeline's workers."""
    run(app, _side_by_side)


def _side_by_side(models: Sequence[Path], workers: int, scheduler: str | None, tasks: Any) -> Any:
    from pipeline.prediction.side_by_side import predict_side_by_side

    return predict_side_by_side(models, workers, scheduler, tasks)
