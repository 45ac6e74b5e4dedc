"""What the report shows, as typed records: methods, metrics, estimates, tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from crossmodalnet.labels import ABBREVIATIONS
from pipeline.cases import Role
from pipeline.tables import MEAN

ATLAS = "atlas"
ROWS = (*ABBREVIATIONS, MEAN)

TITLES = {
    "crossmodalnet": "CrossModalNet",
    "vt_unet": "VT-UNet",
    "swin_unet": "Swin-Unet",
    "swin_unetr": "Swin UNETR",
    "nnformer": "nnFormer",
    "mednext": "MedNeXt",
    ATLAS: "Atlas baseline",
}


@dataclass(frozen=True)
class Metric:
    """A quality measure.

    Attributes:
        key: its column in cases.csv and bars.csv.
        title: as printed.
        unit: `mm`, or empty for shares between 0 and 1.
        digits: decimals printed.
        higher_is_better: which way is up.
    """

    key: str
    title: str
    unit: str
    digits: int
    higher_is_better: bool


METRICS = (
    Metric("dice", "Dice", "", 3, True),
    Metric("iou", "IoU", "", 3, True),
    Metric("hd95_mm", "HD95", "mm", 1, False),
    Metric("assd_mm", "ASSD", "mm", 2, False),
    Metric("nsd", "NSD", "", 3, True),
)


@dataclass(frozen=True)
class Estimate:
    """A mean over test cases with its 95 % bootstrap interval (none where it was not computed)."""

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Result:
    """How well one method did on the test cases.

    Attributes:
        name: model name, or `atlas`.
        estimates: by metric key and structure abbreviation or `mean`; undefined ones are left out.
        cases: cases.csv: one row per pair and structure.
        num_missed: structures present in the truth and absent in a prediction, or the reverse.
        num_undefined: structures absent in both, left out of the means.
        predictions: label map per pair name, on the CT grid.
    """

    name: str
    estimates: Mapping[tuple[str, str], Estimate]
    cases: pd.DataFrame
    num_missed: int
    num_undefined: int
    predictions: Mapping[str, Path]

    @property
    def title(self) -> str:
        """The name as printed."""
        return TITLES.get(self.name, self.name)

    @property
    def mean_dice(self) -> pd.Series:
        """Mean Dice per pair over its defined structures, best first; equal ones by name."""
        means = self.cases.groupby("pair")["dice"].mean().reset_index()
        ordered = means.sort_values(["dice", "pair"], ascending=[False, True])
        return ordered.set_index("pair")["dice"]


@dataclass(frozen=True)
class Training:
    """How one model was trained: curves/<model>.csv and the model card."""

    name: str
    curve: pd.DataFrame
    card: Mapping[str, Any]

    @property
    def title(self) -> str:
        """The name as printed."""
        return TITLES.get(self.name, self.name)


@dataclass(frozen=True)
class TestCase:
    """Images of one test pair, all on the CT grid."""

    __test__ = False  # not a test, whatever pytest thinks of the name

    pair: str
    ct: Path
    mr: Path
    truth: Path


@dataclass(frozen=True)
class Artefacts:
    """All that the report is made of.

    Attributes:
        results: models in the order of params.yaml, the atlas baseline last.
        trainings: models in the same order.
        cases: test cases by pair name.
        registration: registration_qc/pairs.csv.
        checkerboards: picture per pair name.
        crop: crop_qc.csv.
        split: pair names by role.
        source: `data.source`, phantom or mmwhs.
        params: the text of params.yaml.
    """

    results: Sequence[Result]
    trainings: Sequence[Training]
    cases: Mapping[str, TestCase]
    registration: pd.DataFrame
    checkerboards: Mapping[str, Path]
    crop: pd.DataFrame
    split: Mapping[Role, Sequence[str]]
    source: str
    params: str

    @property
    def models(self) -> list[Result]:
        """The results of trained models."""
        return [result for result in self.results if result.name != ATLAS]

    @property
    def atlas(self) -> Result:
        """The result of registration alone."""
        return next(result for result in self.results if result.name == ATLAS)
