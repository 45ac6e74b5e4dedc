"""`crossmodalnet experiments`: list experiments with what they changed and their metrics."""

from typing import Annotated

import typer


def main(
    num_commits: Annotated[int, typer.Option("-n", "--num", help="commits to look back", min=1, max=100)] = 3,
) -> None:
    """List the working copy, the last commits and their experiments: changed parameters, metrics of each network.

    `dvc exp show` has all parameters and the hashes of all files; this table fits a terminal.
    """
    from rich.console import Console

    from pipeline.experiments import print_experiments, read_experiments

    print_experiments(read_experiments(num_commits), Console())
