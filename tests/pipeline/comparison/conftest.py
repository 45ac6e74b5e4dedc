"""Scores of made-up methods on made-up pairs."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crossmodalnet.imaging.structures import ABBREVIATIONS
from crossmodalnet.metrics.scores import METRICS
from pipeline.evaluation.score_cases import CASE_COLUMNS

Cases = Callable[..., pd.DataFrame]


def write_cases(folder: Path, table: pd.DataFrame) -> None:
    """Write the cases of one seed as an evaluation does."""
    folder.mkdir(parents=True, exist_ok=True)
    table.drop(columns="seed").to_csv(folder / "cases.csv", index=False)


def misregistered(rows: list[tuple[object, ...]]) -> pd.DataFrame:
    """Tabulate Dice by pair and shift; the rotation in degrees is the shift in mm."""
    table = pd.DataFrame(rows, columns=["method", "seed", "pair", "moved_mm", "dice"])
    table.insert(4, "turned_degrees", table["moved_mm"])
    return table


def _cases(dice: Sequence[Sequence[float]], prefix: str = "p") -> pd.DataFrame:
    """Scores with `dice[pair][seed]` for each structure; the distances, in mm, and Betti errors are 10 (1 - Dice)."""
    rows = []
    for pair, by_seed in enumerate(np.asarray(dice, float)):
        for seed, value in enumerate(by_seed):
            for structure in ABBREVIATIONS:
                bad = 10 * (1 - value)
                known = {"dice": value, "iou": value / (2 - value), "assd_mm": bad / 2, "nsd": value}
                scores = [known.get(metric.key, bad) for metric in METRICS]
                rows.append((seed, f"{prefix}{pair:02}", structure, *scores, 0, 0, 0))
    return pd.DataFrame(rows, columns=["seed", *CASE_COLUMNS])


@pytest.fixture
def cases() -> Cases:
    """Scores of one method: `cases(dice[pair][seed], prefix="p")`."""
    return _cases
