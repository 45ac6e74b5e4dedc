"""Scores under other conditions than an intact pair, as evaluations left them: MR displaced, one modality missing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from pipeline.comparison.methods import Runs, read_cases
from pipeline.evaluation.tables import MISREGISTRATION_COLUMNS, MISREGISTRATION_FILE
from pipeline.evaluation.views import ALONE
from pipeline.runtime.errors import DataError

# What a comparison keeps of them, so that the folds of a cross-validation can be pooled.
MISREGISTRATION_CASES, MODALITY_CASES = "misregistration_cases.csv", "modality_cases.csv"


@dataclass(frozen=True)
class Conditions:
    """Scores per case; a table is empty where nothing was measured.

    Attributes:
        misregistration: method, seed, and the columns of an evaluation's misregistration.csv.
        modalities: method, view (a modality alone), seed, and the columns of cases.csv.
    """

    misregistration: pd.DataFrame = field(default_factory=pd.DataFrame)
    modalities: pd.DataFrame = field(default_factory=pd.DataFrame)


def read_conditions(runs: Runs) -> Conditions:
    """Read what was measured of each method; a method may have nothing, as one of a single stream has.

    Raises:
        DataError: a table is malformed, only some seeds of a method have it, or methods were measured differently.
    """
    misregistration = _tables(runs, Path(MISREGISTRATION_FILE), _read_misregistration)
    modalities = []
    for view in ALONE:
        found = _tables(runs, Path(view, "cases.csv"), read_cases)
        modalities += [table.assign(view=view.value) for table in found]
    conditions = Conditions(*(_joined(tables) for tables in (misregistration, modalities)))
    _check(conditions)
    return conditions


def read_kept(comparison: Path) -> Conditions:
    """Read what a comparison kept of them.

    Raises:
        DataError: a table is malformed.
    """
    displaced, alone = comparison / MISREGISTRATION_CASES, comparison / MODALITY_CASES
    return Conditions(
        _read_misregistration(displaced) if displaced.exists() else pd.DataFrame(),
        read_cases(alone) if alone.exists() else pd.DataFrame(),
    )


def write_kept(folder: Path, conditions: Conditions) -> None:
    """Write the tables into the folder of a comparison; an empty one is not written."""
    tables = {MISREGISTRATION_CASES: conditions.misregistration, MODALITY_CASES: conditions.modalities}
    for name, table in tables.items():
        if not table.empty:
            table.to_csv(folder / name, index=False, float_format="%.6g")


def _tables(runs: Runs, file: Path, read: Callable[[Path], pd.DataFrame]) -> list[pd.DataFrame]:
    """Read a file of every run that has it, with method and seed before its columns."""
    tables = []
    for method, folders in runs.items():
        paths = {seed: folder / file for seed, folder in folders.items()}
        _check_seeds(method, paths)
        for seed, path in paths.items():
            if path.exists():
                table = read(path)
                columns = ["method", "seed", *table.columns]
                tables.append(table.assign(method=method, seed=seed)[columns])
    return tables


def _check_seeds(method: str, paths: Mapping[int, Path]) -> None:
    missing = [path for path in paths.values() if not path.exists()]
    if missing and len(missing) < len(paths):
        raise DataError(
            f"{missing[0]} not found, but another seed of {method} has it: run `dvc repro evaluate`"
        )


def _read_misregistration(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}): run `dvc repro evaluate`") from error
    if missing := [column for column in MISREGISTRATION_COLUMNS if column not in table.columns]:
        raise DataError(f"{path} lacks {', '.join(missing)}: run `dvc repro --force evaluate`")
    return table.astype({"moved_mm": float, "turned_degrees": float})


def _joined(tables: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _check(conditions: Conditions) -> None:
    """Make sure that all were measured on the same pairs, and displaced by the same amounts."""
    for table, keys in (
        (conditions.misregistration, ["pair", "moved_mm"]),
        (conditions.modalities, ["pair", "view"]),
    ):
        if table.empty:
            continue
        seen = {
            run: set(rows[keys].itertuples(index=False, name=None))
            for run, rows in table.groupby(["method", "seed"])
        }
        (first, expected), *others = seen.items()
        for (method, seed), found in others:
            if found != expected:
                raise DataError(
                    f"{method}, seed {seed}: not measured at the {keys[1]} and pairs of {first[0]}, seed {first[1]}: "
                    "run `dvc repro evaluate evaluate-ablation`"
                )
