"""Read and write the profile of a network: profile/<model>.json."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from crossmodalnet.errors import DataError
from pipeline.config.variants import is_ablation
from pipeline.runtime.inputs import read_object
from pipeline.runtime.paths import PROFILE


@dataclass(frozen=True)
class Spread:
    """Median and quartiles (`low`: 25 %, `high`: 75 %) of repeated measurements."""

    median: float
    low: float
    high: float


def spread(values: NDArray[np.float64]) -> Spread:
    """Summarise repeated measurements `(n,)`; quartiles are interpolated."""
    low, median, high = (round(float(value), 6) for value in np.percentile(values, [25, 50, 75]))
    return Spread(median, low, high)


@dataclass(frozen=True)
class Profile:
    """Costs of a network.

    Attributes:
        flops: of a forward pass of one patch; see `count_flops`.
        step_seconds: training step of the whole batch in one process with all threads.
        step_ratio: `step_seconds` over the reference network's, of steps timed in pairs; so is `inference_ratio`.
        step_memory_mb: peak, MiB, as `inference_memory_mb`; see `measure_memory`.
        inference_seconds: one case on the working grid: all windows and their blending.
        reference_seconds: median step of the reference network, MONAI's U-Net of `REFERENCE_CHANNELS`.
        patch_size: voxels, as `case_size`.
    """

    parameters: int
    flops: int
    step_seconds: Spread
    step_ratio: Spread
    step_memory_mb: float
    inference_seconds: Spread
    inference_ratio: Spread
    inference_memory_mb: float
    reference_seconds: float
    reference_inference_seconds: float
    repetitions: int
    device: str
    threads: int
    batch_size: int
    patch_size: tuple[int, int, int]
    case_size: tuple[int, int, int]


def read_profile(name: str, top: Path) -> Profile | None:
    """Read the costs of a model or of an ablation; None where they were not measured.

    Raises:
        DataError: its profile is missing or malformed.
    """
    path = top / PROFILE / f"{name}.json"
    stage = "profile-ablation" if is_ablation(name) else "profile"
    content = read_object(path, stage)
    if not content:
        return None
    try:
        return TypeAdapter(Profile).validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise DataError(f"{path}: {key}: {first['msg']}: run `dvc repro --force {stage}`") from error
