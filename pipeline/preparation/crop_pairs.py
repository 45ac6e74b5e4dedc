"""Every pair cropped to its heart box on the working grid; atlases come from training subjects alone."""

import logging
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from crossmodalnet.imaging.nifti import read_image, read_label_map
from crossmodalnet.imaging.resample import sample_image, sample_labels
from crossmodalnet.processes import what_is_lacking
from crossmodalnet.roi.heart_box import box_of, cut_voxels, overflow_mm, working_grid
from pipeline.cohort.pairs import Pair, Role, one_per_ct, select
from pipeline.config.sections import CropConfig
from pipeline.preparation.cropped import CroppedCase, write_cropped
from pipeline.preparation.heart_boxes import ENVIRONMENT, AtlasFiles, heart_box
from pipeline.runtime.console import track
from pipeline.runtime.errors import DataError
from pipeline.runtime.workers import ALL_CORES, CaseCost, RuntimeConfig, Work, run_cases

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CropTask:
    """One pair to crop.

    Attributes:
        name: name of the pair.
        role: role of the pair.
        registered: folder of the pair in the outputs of stage register.
        target: folder to write.
        atlases: registered folders of other, training pairs; empty where its own label gives the box.
        params: section `crop`.
    """

    name: str
    role: Role
    registered: Path
    target: Path
    atlases: tuple[Path, ...]
    params: CropConfig


Row = dict[str, str | int | float]

# Measured on the phantom and on a pair of real size (docs/clusters.md).
COST = CaseCost(base_mb=400, bytes_per_voxel=28)


def crop_pairs(
    pairs: list[Pair],
    params: CropConfig,
    registered: Path,
    target: Path,
    runtime: RuntimeConfig = ALL_CORES,
) -> pd.DataFrame:
    """Crop every pair into a folder of `target`.

    Returns:
        Table ordered by pair: pair, role, box_mm, overflow_mm, and `cut_<structure>`, the labelled native
        voxels outside the working grid.

    Raises:
        DataError: a case without a heart.
        ResourceError: pairs that killed the processes that cropped them, named after all others are done.
    """
    tasks = [
        CropTask(pair.name, pair.role, registered / pair.name, target / pair.name, atlases, params)
        for pair in _apart(pairs)
        for atlases in [tuple(registered / name for name in choose_atlases(pair, pairs, params))]
    ]
    work = Work("crop", COST, [task.registered / "ct.nii.gz" for task in tasks], ENVIRONMENT, kept=True)
    rows = [row for _, row in track(run_cases(crop_pair, tasks, work, runtime), "crop", len(tasks))]
    table = pd.DataFrame(rows).sort_values("pair", ignore_index=True)
    _warn(table, params)
    return table


def choose_atlases(pair: Pair, pairs: list[Pair], params: CropConfig) -> list[str]:
    """Name the pairs whose CT and label find this pair's heart: the first training pairs but itself.

    None for a lone training subject: its own label, which training sees anyway, gives its box.
    """
    if params.roi == "labels":
        return []
    others = [p.name for p in one_per_ct(select(pairs, "train")) if p.ct.name != pair.ct.name]
    if not others:
        logger.warning("%s: the only training pair, its box is that of its own label", pair.name)
    return others[: params.num_atlases]


def _apart(pairs: list[Pair]) -> list[Pair]:
    """Put the first pairs of all CTs first: the box of a CT is found once, and not by two workers at a time."""
    first = {pair.name for pair in one_per_ct(pairs)}
    return sorted(pairs, key=lambda pair: pair.name not in first)


def crop_pair(task: CropTask) -> Row:
    """Crop one pair, in a worker process, and give its row of the table.

    The MR's own label is cut along, and influences nothing else.

    Raises:
        DataError: its images or its heart cannot be used.
    """
    try:
        ct_file = task.registered / "ct.nii.gz"
        ct, label = read_image(ct_file), read_label_map(task.registered / "ct_label.nii.gz")
        mr, mr_label = (
            read_image(task.registered / "mr.nii.gz"),
            read_label_map(task.registered / "mr_label.nii.gz"),
        )
        atlases = [AtlasFiles(folder / "ct.nii.gz", folder / "ct_label.nii.gz") for folder in task.atlases]
        box = heart_box(ct_file, ct, atlases, task.params) if atlases else box_of(label)
    except (ValueError, RuntimeError) as error:
        if what_is_lacking(error):
            raise
        raise DataError(f"{task.name}: {error}") from error
    grid = working_grid(box, task.params.size, task.params.spacing_mm)
    ct_here, mr_here = (sample_image(volume, grid, float(volume.data.min())) for volume in (ct, mr))
    label_here, mr_label_here = (sample_labels(volume, grid) for volume in (label, mr_label))
    case = CroppedCase(task.name, ct_here, mr_here, label_here, ct.grid, mr_label_here)
    write_cropped(task.target, case)
    return {
        "pair": task.name,
        "role": task.role,
        "box_mm": " : ".join(
            " ".join(f"{edge:.1f}" for edge in corner) for corner in (box.low_mm, box.high_mm)
        ),
        "overflow_mm": round(overflow_mm(box.grown(task.params.margin_mm), grid), 3),
        **{f"cut_{name}": count for name, count in cut_voxels(label, grid).items()},
    }


def _warn(table: pd.DataFrame, params: CropConfig) -> None:
    for row in table[table["overflow_mm"] > 0].itertuples():
        logger.warning(
            "%s: heart box plus crop.margin_mm is %.0f mm longer than crop.size times crop.spacing_mm; "
            "the grid stays centred on the box", row.pair, row.overflow_mm,
        )  # fmt: skip
    counts = table.filter(like="cut_").sum()
    if cut := {str(name).removeprefix("cut_"): int(count) for name, count in counts.items() if count}:
        logger.warning(
            "labelled voxels outside the working grid: %s; a larger crop.size or crop.spacing_mm keeps them: "
            "`crossmodalnet params fit` chooses sizes by the hearts of the training subjects",
            cut,
        )
