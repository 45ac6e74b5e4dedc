"""The labels of the target domain, in a folder of their own: what evaluates reads it, what trains does not."""

import logging
from collections.abc import Mapping
from pathlib import Path

from crossmodalnet.imaging.nifti import read_label_map, write_label_map
from crossmodalnet.imaging.resample import sample_labels
from pipeline.preparation.cropped import read_cropped
from pipeline.preparation.label_list import write_labelled_names
from pipeline.runtime.errors import DataError

logger = logging.getLogger(__name__)

WORKING, NATIVE = "label.nii.gz", "native.nii.gz"


def write_target_labels(folder: Path, cases: Path, labels: Mapping[str, Path]) -> None:
    """Write each label map on the working grid of its case and on its native grid, and the list of cases.

    Args:
        folder: folder to be filled.
        cases: folder of the cropped target cases.
        labels: native label maps by case name.

    Raises:
        DataError: a label map cannot be read, or is on another grid than its image.
    """
    for name, path in sorted(labels.items()):
        case = read_cropped(cases / name)
        try:
            native = read_label_map(path)
        except ValueError as error:
            raise DataError(f"{name}: {error}") from error
        if not native.grid.same_as(case.native):
            raise DataError(
                f"{name}: {path} is on another grid than the image; repair its header or remove it"
            )
        if not native.data.any():
            raise DataError(f"{name}: {path} labels no voxel; repair it, or remove it to have no label")
        working = sample_labels(native, case.grid)
        if not working.data.any():
            logger.warning("%s: the crop holds no labelled voxel, its heart box is elsewhere", name)
        write_label_map(folder / name / WORKING, working)
        write_label_map(folder / name / NATIVE, native)
    write_labelled_names(folder, labels)
