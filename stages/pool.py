"""`crossmodalnet pool`: compare methods over all folds of a cross-validation."""

import logging
from pathlib import Path
from typing import Annotated

import typer

logger = logging.getLogger(__name__)


def main(
    revisions: Annotated[
        list[str], typer.Argument(help="DVC experiments, branches or commits, one per fold", metavar="REV...")
    ],
    out: Annotated[Path, typer.Option(help="folder to write, replaced if it holds a comparison")] = Path(
        "comparison_pooled"
    ),
) -> None:
    """Compare the methods over the test pairs of all folds of a cross-validation.

    Make the folds with `dvc exp run --queue -S split.folds=4 -S split.fold=0,1,2,3` and `dvc queue start`.
    """
    from crossmodalnet.errors import UsageError
    from crossmodalnet.io.console import track
    from crossmodalnet.io.outputs import whole_folder
    from pipeline.comparison.compare import pool, read_revision, write_comparison

    if out.exists() and not (out / "statements.json").is_file():
        raise UsageError(f"--out {out} exists and is not a comparison: it would be replaced")
    comparison = pool([read_revision(revision) for revision in track(revisions, "pool", len(revisions))])
    with whole_folder(out) as folder:
        write_comparison(folder, comparison)
    for headline in comparison.headlines:
        logger.info("%s", headline)
    logger.info("pooled comparison: %s", out)
