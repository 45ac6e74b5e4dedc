"""What the report shows, as typed records: methods, metrics, estimates, tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from crossmodalnet.labels import ABBREVIATIONS
from pipeline.cases.pairs import Role
from pipeline.comparison.titles import METRICS as METRICS
from pipeline.comparison.titles import TITLES as TITLES
from pipeline.comparison.titles import Metric as Metric
from pipeline.comparison.titles import short_title_of, title_of
from pipeline.evaluation.tables import MEAN
from pipeline.names import ATLAS as ATLAS
from pipeline.report.audit_records import AuditRecord
from pipeline.report.comparison_records import Comparison, Profile, Trial

if TYPE_CHECKING:
    from pipeline.report.adaptation_records import AdaptationRecord

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
        estimates: by metric key and structure abbreviation or `mean`; undefined ones are left out.
        cases: one row per pair and structure, the mean over the seeds of cases.csv.
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


@dataclass(frozen=True)
class Artefacts:
    """All that the report is made of.

    Attributes:
        results: models in the order of params.yaml, the atlas baseline last; without it where the cases are single
            images, which registration does not label.
        trainings: models in the same order.
        ablations: estimates of the variants of CrossModalNet, by their keys, in the order of params.yaml.
        comparison: what stage `compare` found.
        profiles: costs by the name of the model, or of an ablation's runs.
        trials: learning rates tried, by model; none where no search was made.
        audits: what the paper claims, checked on each model, in the same order.
        cases: test cases by pair name.
        registration: registration_qc/pairs.csv.
        checkerboards: picture per pair name.
        crop: crop_qc.csv.
        split: pair names by role.
        source: `data.source`, phantom or mmwhs.
        params: the text of params.yaml.
        adaptation: to another domain; None without one.
    """

    results: Sequence[Result]
    trainings: Sequence[Training]
    ablations: Mapping[str, Estimates]
    comparison: Comparison
    profiles: Mapping[str, Profile]
    trials: Mapping[str, Sequence[Trial]]
    audits: Mapping[str, AuditRecord]
    cases: Mapping[str, TestCase]
    registration: pd.DataFrame
    checkerboards: Mapping[str, Path]
    crop: pd.DataFrame
    split: Mapping[Role, Sequence[str]]
    source: str
    params: str
    adaptation: "AdaptationRecord | None" = None

    @property
    def models(self) -> list[Result]:
        """The results of trained models."""
        return [result for result in self.results if result.name != ATLAS]

    @property
    def atlas(self) -> Result | None:
        """The result of registration alone; None where the cases are single images."""
        return next((result for result in self.results if result.name == ATLAS), None)

    @property
    def seeds(self) -> list[int]:
        """The seeds that every model was trained with."""
        return list(self.trainings[0].curves)

    @property
    def reference(self) -> Result:
        """The first model of params.yaml, with which the others are compared."""
        return self.results[0]
