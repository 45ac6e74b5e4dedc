"""Measure Dice with the MR shifted and rotated away from its registered position."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.samples import apply_misregistration, random_misregistration
from crossmodalnet.imaging.structures import STRUCTURES
from crossmodalnet.metrics.overlap import mean_dice
from crossmodalnet.networks.common.card import LoadedModel
from pipeline.config.sections import EvaluateConfig
from pipeline.evaluation.kept_cases import find_or_compute
from pipeline.evaluation.prediction import Evaluator, network_input, predict_input
from pipeline.evaluation.score_cases import DECIMALS, MISREGISTRATION_COLUMNS
from pipeline.preparation.cases import CaseSet
from pipeline.runtime.workers import CaseCost, Work

# On the working grid, feature maps take most of the memory.
COST = CaseCost(base_mb=1200, bytes_per_voxel=600)
# About sixty phantom cases, or two of real size.
FEW_VOXELS = 2**22


class MisregisterTask(NamedTuple):
    """A case to segment with its MR misregistered; `kept` is its cache folder."""

    name: str
    cases: CaseSet
    params: EvaluateConfig
    missing: tuple[str, ...]
    kept: Path | None


def measure_misregistration(evaluator: Evaluator, cases: CaseSet, names: Sequence[str]) -> pd.DataFrame:
    """Segment every pair with its MR misregistered by each amount, on the working grid.

    The direction and axis of a pair depend on `params.seed` and its name, so all models and folds move it the same way.

    Returns:
        `MISREGISTRATION_COLUMNS`: shift in mm, rotation in degrees, and the mean Dice (0 to 1) over the structures of
        the label or the prediction.
    """
    params, missing, kept = evaluator.params, evaluator.missing, evaluator.kept
    tasks = [
        MisregisterTask(
            name, cases, params, missing,
            kept.case("misregistered", cases.folder / name, params, missing) if kept else None,
        )
        for name in names
    ]  # fmt: skip
    work = Work("misregister", COST, [cases.folder / name / "ct.nii.gz" for name in names], kept=bool(kept))
    return pd.concat(evaluator.compute(misregister_case, tasks, work, FEW_VOXELS), ignore_index=True)


def misregister_case(task: MisregisterTask, model: LoadedModel) -> pd.DataFrame:
    """Compute a row for each amount, or reuse a kept result."""

    def misregister_and_score() -> pd.DataFrame:
        ignored = [structure.index for structure in STRUCTURES if structure.abbreviation in task.missing]
        case = task.cases.read(task.name)
        if case.label is None:
            raise DataError(f"{task.name}: the crop has no label map to measure misregistration with")
        image, truth = network_input(case, model.card.intensity), torch.from_numpy(case.label.data)
        rows = []
        for moved_mm, degrees in amounts(task.params):
            # The working grid is isotropic: crop.spacing_mm is one number.
            shift_voxels = moved_mm / case.grid.spacing_mm[0]
            moved = misregister(image, task.name, shift_voxels, degrees, task.params.seed)
            probabilities = predict_input(model, moved, task.name, task.params)
            dice = mean_dice(probabilities.argmax(0), truth, len(probabilities), ignored)
            rows.append((task.name, moved_mm, degrees, dice))
        return pd.DataFrame(rows, columns=list(MISREGISTRATION_COLUMNS))

    return find_or_compute(task.kept, misregister_and_score)


def misregister(image: Tensor, name: str, shift_voxels: float, degrees: float, seed: int) -> Tensor:
    """Move the MR of an input `(2, d, h, w)`, CT then MR, isotropic, in the pair's direction and about its axis.

    Returns:
        The same shape; `image` itself where nothing moves.
    """
    if not (shift_voxels or degrees):
        return image
    # Not `hash`, which differs from process to process.
    state = np.random.SeedSequence([seed, crc32(name.encode())])
    random = np.random.RandomState(np.random.MT19937(state))
    displacement = random_misregistration(shift_voxels, degrees, random)
    return torch.cat([image[:1], apply_misregistration(image[1:], displacement)])


def misregistration_means(table: pd.DataFrame) -> dict[str, float]:
    """Average Dice over pairs for every amount, keyed as `5mm`; undefined means are left out."""
    means = table.groupby("moved_mm")["dice"].mean().dropna()
    return {f"{moved:g}mm": round(float(dice), DECIMALS) for moved, dice in means.items()}


def amounts(params: EvaluateConfig) -> Iterator[tuple[float, float]]:
    """Yield shifts in mm, each with a proportional rotation in degrees."""
    largest = max(params.misregistration_mm)
    for moved in params.misregistration_mm:
        yield moved, params.misregistration_degrees * moved / largest if largest else 0.0
