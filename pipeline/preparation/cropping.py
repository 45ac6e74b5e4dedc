"""Crop pairs and images to their heart ROI; atlases are training subjects only."""

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
from crossmodalnet.imaging.volume import Grid, Volume
from crossmodalnet.io.console import track
from crossmodalnet.io.outputs import write_json
from crossmodalnet.roi.atlas import Atlas, make_atlas
from crossmodalnet.roi.box import Box, box_of, cut_voxels, find_roi, overflow_mm, working_grid
from pipeline.cohort.pairs import Pair, one_per_ct, select
from pipeline.config.sections import CropConfig
from pipeline.preparation.cases import CroppedCase, write_cropped
from pipeline.runtime.work import code_fingerprint, fingerprint, work_folder
from pipeline.runtime.workers import ALL_CORES, CaseCost, RuntimeConfig, Work, run_cases

logger = logging.getLogger(__name__)

# Seed of the voxels at which ANTs samples its metric.
ENVIRONMENT = {"ANTS_RANDOM_SEED": "1"}
# Measured on the phantom and on a pair of real size.
COST = CaseCost(base_mb=400, bytes_per_voxel=28)

# Image and label map of a labelled subject.
AtlasFiles = tuple[Path, Path]
Row = dict[str, str | int | float]


@dataclass(frozen=True)
class CropTask:
    """A pair (all files on the CT's grid) or a single image to crop.

    Attributes:
        images: files by modality; the ROI is found in the CT if there is one.
        atlases: labelled training subjects; empty if the ROI comes from the case's own label.
    """

    name: str
    images: dict[Modality, Path]
    labels: dict[Modality, Path]
    atlases: tuple[AtlasFiles, ...]
    config: CropConfig
    target: Path
    atlas_modality: Modality = Modality.CT


def crop_pairs(
    pairs: list[Pair], config: CropConfig, registered: Path, target: Path, runtime: RuntimeConfig = ALL_CORES
) -> pd.DataFrame:
    """Crop every pair into a folder of `target`.

    Returns:
        Table by pair: pair, role, box_mm, overflow_mm, `cut_<structure>` (labelled native voxels outside the grid).

    Raises:
        DataError: no heart is found in a case.
        ResourceError: some pairs killed their workers; raised after all others finish.
    """
    # Crop one pair per CT first, so no two workers search the same ROI.
    first = {pair.name for pair in one_per_ct(pairs)}
    tasks = []
    for pair in sorted(pairs, key=lambda pair: pair.name not in first):
        files = registered / pair.name
        atlases = choose_atlases(pair, pairs, config)
        tasks.append(
            CropTask(
                name=pair.name,
                images={Modality.CT: files / "ct.nii.gz", Modality.MR: files / "mr.nii.gz"},
                labels={Modality.CT: files / "ct_label.nii.gz", Modality.MR: files / "mr_label.nii.gz"},
                atlases=tuple(registered_atlas(registered / name) for name in atlases),
                config=config,
                target=target / pair.name,
            )
        )
    table = crop_cases(tasks, runtime)
    table.insert(1, "role", table["pair"].map({pair.name: pair.role for pair in pairs}))
    counts = table.filter(like="cut_").sum()
    if cut := {str(name).removeprefix("cut_"): int(count) for name, count in counts.items() if count}:
        logger.warning(
            "labelled voxels outside the working grid: %s; a larger crop.size or crop.spacing_mm keeps them: "
            "`crossmodalnet params fit` chooses sizes by the hearts of the training subjects",
            cut,
        )
    return table


def choose_atlases(pair: Pair, pairs: list[Pair], config: CropConfig) -> list[str]:
    """Choose the first training pairs other than this one as atlases; none for a lone training subject."""
    if config.roi == "labels":
        return []
    others = [p.name for p in one_per_ct(select(pairs, "train")) if p.ct.name != pair.ct.name]
    if not others:
        logger.warning("%s: the only training pair, its ROI is that of its own label", pair.name)
    return others[: config.num_atlases]


def registered_atlas(folder: Path) -> AtlasFiles:
    """Return the CT and its label map in a registered pair's folder."""
    return folder / "ct.nii.gz", folder / "ct_label.nii.gz"


def crop_cases(tasks: Sequence[CropTask], runtime: RuntimeConfig = ALL_CORES) -> pd.DataFrame:
    """Crop all cases in parallel, warn of ROIs larger than the grid, and return `crop_case` rows by case."""
    images = [path for task in tasks for path in task.images.values()]
    work = Work("crop", COST, images, ENVIRONMENT, kept=True)
    rows = [row for _, row in track(run_cases(crop_case, tasks, work, runtime), "crop", len(tasks))]
    table = pd.DataFrame(rows, columns=None if rows else ["pair", "overflow_mm"])
    table = table.sort_values("pair", ignore_index=True)
    for row in table[table["overflow_mm"] > 0].itertuples():
        logger.warning(
            "%s: heart ROI plus crop.margin_mm is %.0f mm longer than crop.size times crop.spacing_mm; "
            "the grid stays centred on the ROI", row.pair, row.overflow_mm,
        )  # fmt: skip
    return table


def crop_case(task: CropTask) -> Row:
    """Crop one case, with a pair's MR label, and return its row for `crop_pairs`; runs in worker processes.

    Raises:
        DataError: an image is unusable, or contains no heart.
    """
    main = Modality.CT if Modality.CT in task.images else Modality.MR
    try:
        images = {modality: read_image(path) for modality, path in task.images.items()}
        labels = {modality: read_label_map(path) for modality, path in task.labels.items()}
        label = labels.get(main)
        if task.atlases:
            box = _find_box(task, main, images[main])
        elif label:
            box = box_of(label)
        else:
            raise ValueError("no atlas and no label map, so no heart ROI")
    except (ValueError, RuntimeError) as error:
        if resource_problem(error):
            raise
        raise DataError(f"{task.name}: {error}") from error
    grid = working_grid(box, task.config.size, task.config.spacing_mm)
    mr_label = labels.get(Modality.MR) if main is Modality.CT else None
    case = CroppedCase(
        task.name,
        _sampled(images.get(Modality.CT), grid),
        _sampled(images.get(Modality.MR), grid),
        sample_labels(label, grid) if label else None,
        images[main].grid,
        sample_labels(mr_label, grid) if mr_label else None,
    )
    write_cropped(task.target, case)
    cut = cut_voxels(label, grid) if label else {}
    return {
        "pair": task.name,
        "box_mm": " : ".join(" ".join(f"{edge:.1f}" for edge in corner) for corner in (box.low_mm, box.high_mm)),
        "overflow_mm": round(overflow_mm(box.grown(task.config.margin_mm), grid), 3),
        **{f"cut_{name}": count for name, count in cut.items()},
    }


def _sampled(image: Volume | None, grid: Grid) -> Volume | None:
    return None if image is None else sample_image(image, grid, float(image.data.min()))


def _find_box(task: CropTask, modality: Modality, image: Volume) -> Box:
    """Find the ROI of an image with the atlases, or reuse it from an earlier run."""
    spacing_mm = task.config.atlas_spacing_mm
    key = fingerprint(
        task.images[modality], task.atlases, spacing_mm, [modality, task.atlas_modality],
        code_fingerprint("crop"), version("antspyx"),
    )  # fmt: skip
    done = work_folder("crop", key) / "box.json"
    if not done.is_file():
        atlases = [read_atlas(files, task.atlas_modality, spacing_mm) for files in task.atlases]
        roi = find_roi(image, atlases, spacing_mm, modality=modality, atlas_modality=task.atlas_modality)
        write_json(done, asdict(roi.box))
    edges = json.loads(done.read_text("utf-8"))
    return Box(tuple(edges["low_mm"]), tuple(edges["high_mm"]))


def read_atlas(files: AtlasFiles, modality: Modality, spacing_mm: float) -> Atlas:
    """Read an atlas at the atlas registration's spacing, cached per process."""
    return _read_atlas(files, modality, spacing_mm, tuple(_state(file) for file in files))


@lru_cache(maxsize=32)
def _read_atlas(files: AtlasFiles, modality: Modality, spacing_mm: float, states: object) -> Atlas:
    image, label = files
    return make_atlas(read_image(image), read_label_map(label), modality, spacing_mm)


def _state(file: Path) -> tuple[int, ...] | None:
    """Return a stamp of a file, which may change during the life of a cluster worker."""
    try:
        status = file.stat()
    except OSError:  # reading reports it
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
