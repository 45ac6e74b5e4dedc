"""What is shown of methods: estimates, scores, trainings and test cases, as typed records."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from crossmodalnet.imaging.structures import ABBREVIATIONS
from pipeline.comparison.titles import short_title_of, title_of
from pipeline.evaluation.score_cases import MEAN

ROWS = (*ABBREVIATIONS, MEAN)


Estimates = Mapping[tuple[str, str], "Estimate"]


@dataclass(frozen=True)
class Estimate:
    """A mean over test cases and seeds with its 95 % bootstrap interval (none where it was not computed)."""

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Method:
    """Something that has a name in print."""

    name: str

    @property
    def title(self) -> str:
        """The name as printed."""
        return title_of(self.name)

    @property
    def short_title(self) -> str:
        """The name where room is short."""
        return short_title_of(self.name)


@dataclass(frozen=True)
class Result(Method):
    """How well one method did on the test cases.

    Attributes:
        name: model name, or `atlas`.
        estimates: estimates by metric key and structure abbreviation or `mean`; undefined ones are left out.
        cases: scores, one row per pair and structure, the mean over the seeds of cases.csv.
        num_missed: structures present in the truth and absent in a prediction, or the reverse, over all seeds.
        num_undefined: structures absent in both, left out of the means, over all seeds.
        predictions: label map of the first seed per pair name, on the CT grid.
    """

    estimates: Estimates
    cases: pd.DataFrame
    num_missed: int
    num_undefined: int
    predictions: Mapping[str, Path]

    @property
    def mean_dice(self) -> pd.Series:
        """Mean Dice per pair over its defined structures, best first; equal ones by name."""
        means = self.cases.groupby("pair")["dice"].mean().reset_index()
        ordered = means.sort_values(["dice", "pair"], ascending=[False, True])
        return ordered.set_index("pair")["dice"]


@dataclass(frozen=True)
class Training(Method):
    """How one model was trained: curves/<model>/seed<k>.csv and model cards, by seed, the first seed first."""

    curves: Mapping[int, pd.DataFrame]
    cards: Mapping[int, Mapping[str, Any]]

    @property
    def seed(self) -> int:
        """The first seed."""
        return next(iter(self.curves))

    @property
    def curve(self) -> pd.DataFrame:
        """The curve of the first seed."""
        return self.curves[self.seed]

    @property
    def card(self) -> Mapping[str, Any]:
        """The card of the first seed."""
        return self.cards[self.seed]


@dataclass(frozen=True)
class TestCase:
    """Images of one test case: a pair, all on the CT grid, or an image alone (the other one is None)."""

    __test__ = False  # not a test, whatever pytest thinks of the name

    pair: str
    ct: Path | None
    mr: Path | None
    truth: Path
