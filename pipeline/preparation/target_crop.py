"""Cases of the target scenario cropped to the heart box that atlases of the source domain find."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crossmodalnet.imaging.nifti import read_image, read_label_map
from crossmodalnet.imaging.resample import sample_image, sample_labels
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.volume import Grid, Volume
from crossmodalnet.processes import what_is_lacking
from crossmodalnet.registration.syn import Initialisation
from crossmodalnet.roi.heart_box import box_of, overflow_mm, working_grid
from pipeline.config.sections import CropConfig
from pipeline.preparation.crop_pairs import COST
from pipeline.preparation.cropped import CroppedCase, write_cropped
from pipeline.preparation.heart_boxes import ENVIRONMENT, AtlasFiles, heart_box
from pipeline.runtime.console import track
from pipeline.runtime.errors import DataError
from pipeline.runtime.workers import ALL_CORES, RuntimeConfig, Work, run_cases

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TargetCropTask:
    """One case to crop.

    Attributes:
        name: name of the case.
        images: files by modality, on one grid; the heart is found in the CT where there is one.
        label: label map on that grid, for a case of the source domain alone.
        atlases: labelled training subjects of the source domain; empty where the case's own label gives its box.
        atlas_modality: modality of the atlases.
        params: section `crop`, whose `roi` is not looked at.
        target: folder to write.
    """

    name: str
    images: dict[Modality, Path]
    label: Path | None
    atlases: tuple[AtlasFiles, ...]
    atlas_modality: Modality
    params: CropConfig
    target: Path


def crop_cases(tasks: Sequence[TargetCropTask], runtime: RuntimeConfig = ALL_CORES) -> None:
    """Crop all cases by parallel workers.

    Raises:
        DataError: an image cannot be used, or no heart is found in it.
    """
    images = [path for task in tasks for path in task.images.values()]
    work = Work("crop", COST, images, ENVIRONMENT, kept=True)
    for task, over_mm in track(run_cases(crop_case, tasks, work, runtime), "crop", len(tasks)):
        if over_mm > 0:
            logger.warning(
                "%s: heart box plus crop.margin_mm is %.0f mm longer than crop.size times crop.spacing_mm; "
                "the grid stays centred on the box", task.name, over_mm,
            )  # fmt: skip


def crop_case(task: TargetCropTask) -> float:
    """Crop one case, in a worker process; gives the millimetres by which its box is longer than the grid.

    Raises:
        DataError: an image cannot be used, or no heart is found in it.
    """
    found_in = Modality.CT if Modality.CT in task.images else Modality.MR
    try:
        images = {modality: read_image(path) for modality, path in task.images.items()}
        label = read_label_map(task.label) if task.label else None
        if task.atlases:
            file, image = task.images[found_in], images[found_in]
            start = initialisation(found_in, task.atlas_modality)
            box = heart_box(file, image, task.atlases, task.params, found_in, task.atlas_modality, start)
        elif label:
            box = box_of(label)
        else:
            raise ValueError("no atlas and no label map, so no heart box")
    except (ValueError, RuntimeError) as error:
        if what_is_lacking(error):
            raise
        raise DataError(f"{task.name}: {error}") from error
    grid = working_grid(box, task.params.size, task.params.spacing_mm)
    case = CroppedCase(
        task.name,
        _sampled(images.get(Modality.CT), grid),
        _sampled(images.get(Modality.MR), grid),
        sample_labels(label, grid) if label else None,
        images[found_in].grid,
    )
    write_cropped(task.target, case)
    return overflow_mm(box.grown(task.params.margin_mm), grid)


def initialisation(image: Modality, atlas: Modality) -> Initialisation:
    """Where the registration of an atlas starts: CT to CT as in the stage `crop`, all else by a search."""
    return "centre_of_mass" if image is atlas is Modality.CT else "search"


def _sampled(image: Volume | None, grid: Grid) -> Volume | None:
    return None if image is None else sample_image(image, grid, float(image.data.min()))
