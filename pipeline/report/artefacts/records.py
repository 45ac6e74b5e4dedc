"""All that the report is made of, as one typed record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from pipeline.cohort.pairs import Role
from pipeline.cohort.split_file import SplitNotes
from pipeline.config.variants import ATLAS
from pipeline.evaluation.profile import Profile
from pipeline.report.artefacts.adaptation_records import AdaptationRecord
from pipeline.report.artefacts.audit_records import AuditRecord
from pipeline.report.artefacts.comparison_records import ComparisonRecord
from pipeline.report.artefacts.results import Estimates, Result, TestCase, Training
from pipeline.training.tuning import TrialResult


@dataclass(frozen=True)
class Artefacts:
    """All that the report is made of.

    Attributes:
        results: models in the order of params.yaml, the atlas baseline last; without it where the cases are single
            images, which registration does not label.
        trainings: models in the same order.
        ablations: estimates of the variants of CrossModalNet, by their keys, in the order of params.yaml.
        comparison: results of stage `compare`.
        profiles: costs by the name of the model, or of an ablation's runs.
        trials: learning rates tried, by model; none where no search was made.
        audits: verdicts on the paper's claims, checked on each model, in the order of the models.
        cases: test cases by pair name.
        registration: registration_qc/pairs.csv.
        checkerboards: picture per pair name.
        crop: crop_qc.csv.
        split: pair names by role.
        source: `data.source`: phantom, mmwhs or table.
        params: the text of params.yaml.
        adaptation: adaptation to another domain; None without one.
        notes: structures that are not delineated, and how many pairs are of one patient.
    """

    results: Sequence[Result]
    trainings: Sequence[Training]
    ablations: Mapping[str, Estimates]
    comparison: ComparisonRecord
    profiles: Mapping[str, Profile]
    trials: Mapping[str, Sequence[TrialResult]]
    audits: Mapping[str, AuditRecord]
    cases: Mapping[str, TestCase]
    registration: pd.DataFrame
    checkerboards: Mapping[str, Path]
    crop: pd.DataFrame
    split: Mapping[Role, Sequence[str]]
    source: str
    params: str
    adaptation: AdaptationRecord | None = None
    notes: SplitNotes = field(default_factory=SplitNotes)

    @property
    def num_pairs(self) -> int:
        """How many pairs there are in all roles."""
        return sum(len(pairs) for pairs in self.split.values())

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
