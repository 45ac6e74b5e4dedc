"""What is compared: metrics, groups of methods, and their scores per case as evaluations left them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from crossmodalnet.imaging.structures import ABBREVIATIONS
from pipeline.comparison.titles import METRICS
from pipeline.config.variants import ATLAS, is_ablation, method_of
from pipeline.runtime.errors import DataError
from pipeline.runtime.paths import of_run

Group = Literal["model", "atlas", "ablation"]
Methods = Mapping[str, pd.DataFrame]
# Evaluation folders by method and seed.
Runs = Mapping[str, Mapping[int, Path]]


def group_of(method: str) -> Group:
    """Tell models, ablations and the atlas baseline apart by their names."""
    if method == ATLAS:
        return "atlas"
    return "ablation" if is_ablation(method) else "model"


def runs_of(
    evaluation: Path,
    models: Sequence[str],
    ablations: Sequence[str],
    seeds: Sequence[int],
    *,
    atlas: bool = True,
) -> Runs:
    """Say where the evaluations of every method lie.

    Args:
        evaluation: folder with `<model>/seed<k>` and `atlas`.
        models: networks.
        ablations: ablations of CrossModalNet, without its name.
        seeds: every network and ablation was trained with each.
        atlas: whether the atlas baseline is compared too; it has the one seed 0.

    Returns:
        Folders by method and seed, models first, then the atlas baseline, then ablations.
    """
    networks = [*models, *([ATLAS] if atlas else []), *(method_of(ablation) for ablation in ablations)]
    runs: dict[str, Mapping[int, Path]] = {}
    for name in networks:
        runs[name] = (
            {0: evaluation / name} if name == ATLAS else {k: of_run(evaluation, name, k) for k in seeds}
        )
    return runs


def read_methods(runs: Runs) -> dict[str, pd.DataFrame]:
    """Read the cases of every method.

    Returns:
        Tables by method: the columns of cases.csv with the seed before them.

    Raises:
        DataError: an evaluation is missing or has no such columns.
    """
    return {
        name: read_runs({seed: folder / "cases.csv" for seed, folder in folders.items()})
        for name, folders in runs.items()
    }


def read_runs(paths: Mapping[int, Path], stages: str = "evaluate atlas") -> pd.DataFrame:
    """Read the cases of one method: the columns of cases.csv with the seed before them.

    Args:
        paths: paths of cases.csv, by seed.
        stages: stages that write the tables.

    Raises:
        DataError: a table is missing or has no such columns.
    """
    tables = [read_cases(path, stages).assign(seed=seed) for seed, path in paths.items()]
    table = pd.concat(tables, ignore_index=True)
    return table[["seed", *(column for column in table.columns if column != "seed")]]


def read_cases(path: Path, stages: str = "evaluate atlas") -> pd.DataFrame:
    """Read a table of scores per pair and structure, which one of `stages` writes.

    Raises:
        DataError: it is missing, not a table, or lacks a column.
    """
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}): run `dvc repro {stages}`") from error
    needed = ("pair", "structure", *(metric.key for metric in METRICS))
    if missing := [column for column in needed if column not in table.columns]:
        raise DataError(f"{path} lacks {', '.join(missing)}: it is of an older version, evaluate again")
    return table


def check_methods(methods: Methods) -> None:
    """Make sure that all methods were scored on the same pairs, once with each of their seeds.

    Raises:
        DataError: names the method and what is wrong.
    """
    expected: set[str] | None = None
    for name, table in methods.items():
        if table.duplicated(["seed", "pair", "structure"]).any():
            raise DataError(f"{name}: a pair was scored twice with one seed")
        if unknown := sorted(set(table["structure"]) - set(ABBREVIATIONS)):
            raise DataError(f"{name}: unknown structure {', '.join(unknown)}")
        for seed, run in table.groupby("seed"):
            pairs = set(run["pair"])
            expected = expected or pairs
            if len(run) != len(pairs) * len(ABBREVIATIONS):
                raise DataError(f"{name}, seed {seed}: every pair needs a row for each of {ABBREVIATIONS}")
            if pairs != expected:
                odd = ", ".join(sorted(pairs ^ expected))
                raise DataError(f"{name}, seed {seed}: not scored on the pairs of the others ({odd})")
    if not expected:
        raise DataError("nothing to compare: no method was scored on any pair")
