"""Crop every pair to its heart ROI on the working grid; atlases come from training subjects alone."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from crossmodalnet.errors import DataError, resource_problem
from crossmodalnet.imaging.nifti import read_image, read_label_map
from crossmodalnet.imaging.resample import sample_image, sample_labels
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.io.console import track
from crossmodalnet.io.outputs import write_json
from crossmodalnet.registration.syn import Start
from crossmodalnet.roi.atlas import Atlas, make_atlas
from crossmodalnet.roi.box import Box, box_of, cut_voxels, find_heart_box, overflow_mm, working_grid
from pipeline.cohort.pairs import Pair, Role, one_per_ct, select
from pipeline.config.sections import CropConfig
from pipeline.preparation.cases import CroppedCase, write_cropped
from pipeline.runtime.work import code_fingerprint, fingerprint, work_folder
from pipeline.runtime.workers import ALL_CORES, CaseCost, RuntimeConfig, Work, run_cases

logger = logging.getLogger(__name__)


# Of the sampling of ANTs' metric.
ENVIRONMENT = {"ANTS_RANDOM_SEED": "1"}


@dataclass(frozen=True)
class AtlasFiles:
    """Files of a labelled subject that tells where the heart lies in others."""

    image: Path
    label: Path


def read_atlas(files: AtlasFiles, modality: Modality, spacing_mm: float) -> Atlas:
    """Read an atlas at the spacing of the atlas registration, once in a process: all its cases have the same atlases.

    Raises:
        ValueError: a file cannot be read.
    """
    return _read_atlas(files, modality, spacing_mm, (_state(files.image), _state(files.label)))


@lru_cache(maxsize=32)
def _read_atlas(files: AtlasFiles, modality: Modality, spacing_mm: float, states: object) -> Atlas:
    return make_atlas(read_image(files.image), read_label_map(files.label), modality, spacing_mm)


def _state(file: Path) -> tuple[int, ...] | None:
    """What changes with a file: a cluster's worker lives on, while other data come to lie under the same name."""
    try:
        found = file.stat()
    except OSError:  # reading says what is wrong
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def heart_box(
    file: Path,
    image: Volume,
    atlases: Sequence[AtlasFiles],
    params: CropConfig,
    modality: Modality = Modality.CT,
    atlas_modality: Modality = Modality.CT,
    initialisation: Start = "centre_of_mass",
) -> Box:
    """Find the heart box of an image, or the box that an earlier run found, in a process with `ENVIRONMENT`.

    Work is keyed by the images, the atlases' labels, the spacing, the modalities and the code.

    Args:
        file: the image's file.
        image: what was read from it, HU or MR.
        atlases: other subjects, labelled.
        params: section `crop`.
        modality: modality of the image.
        atlas_modality: modality of the atlases.
        initialisation: start of the registrations.

    Raises:
        ValueError: no atlas, an unreadable file, or the atlases agree on no voxel.
        RuntimeError: ANTs failed.
    """
    key = fingerprint(
        file, [[atlas.image, atlas.label] for atlas in atlases], params.atlas_spacing_mm,
        [modality, atlas_modality, initialisation], code_fingerprint("crop"),
        version("antspyx"),
    )  # fmt: skip
    done = work_folder("crop", key) / "box.json"
    if not done.is_file():
        box = find_heart_box(
            image,
            [read_atlas(files, atlas_modality, params.atlas_spacing_mm) for files in atlases],
            params.atlas_spacing_mm,
            modality=modality,
            initialisation=initialisation,
        )
        write_json(done, asdict(box))
    found = json.loads(done.read_text("utf-8"))
    return Box(tuple(found["low_mm"]), tuple(found["high_mm"]))


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
        if resource_problem(error):
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
