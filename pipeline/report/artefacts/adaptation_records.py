"""What an adaptation to another domain left, as typed records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline.cohort.pairs import Role
from pipeline.preparation.domain import Scenario
from pipeline.report.artefacts.results import Estimates, TestCase

Roles = Mapping[Role, Sequence[str]]


@dataclass(frozen=True)
class TargetCase:
    """A test case of the target and what was predicted there.

    Attributes:
        images: images of the case, on the working grid, with its true label map on the original one.
        predictions: label map on the original grid, first seed, by method.
        dice: mean over structures and seeds, by method.
    """

    images: TestCase
    predictions: Mapping[str, Path]
    dice: Mapping[str, float]


@dataclass(frozen=True)
class AdaptationRecord:
    """What stages `target`, `evaluate` and `compare` found.

    Attributes:
        scenario: direction of the adaptation, what is adapted to what.
        target_source: `adapt.target.source`; of the scenario cohort only.
        source_names: labelled cases by role.
        target_names: cases of the target by role.
        source: estimates on the source's test cases, by method: source-only first, supervised last.
        target: estimates on the target's test cases, by method; empty where it has no labelled test case.
        gap: gap.csv, or no rows: method, structure, share, low, high and more.
        structures: adaptation_structures.csv, or no rows.
        statements: kind and text.
        choices: choices.csv of the adapted network by seed: epoch, chosen, target_dice.
        case: the median test case by the adapted network's Dice; None where the target has no labels.
    """

    scenario: Scenario
    target_source: str
    source_names: Roles
    target_names: Roles
    source: Mapping[str, Estimates]
    target: Mapping[str, Estimates]
    gap: pd.DataFrame
    structures: pd.DataFrame
    statements: Sequence[tuple[str, str]]
    choices: Mapping[int, pd.DataFrame]
    case: TargetCase | None

    @property
    def between_modalities(self) -> bool:
        """Whether cases are single images."""
        return self.scenario != "cohort"
