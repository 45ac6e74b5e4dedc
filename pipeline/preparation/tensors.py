"""Convert cropped cases to tensors, with or without labels."""

import torch

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.intensity import Intensity, stack_input
from crossmodalnet.imaging.samples import LabelledCase
from pipeline.preparation.cases import CroppedCase


def labelled(case: CroppedCase, intensity: Intensity) -> LabelledCase:
    """Convert a case to the network's input and its label.

    Raises:
        DataError: an image is constant or not finite, or the label is missing or empty.
    """
    image = _input(case, intensity)
    if case.label is None:
        raise DataError(f"{case.name}: the crop has no label map, and without one no case trains or validates")
    if not case.label.data.any():
        raise DataError(f"{case.name}: no labelled voxel in the crop; look at the label map and the heart ROI")
    if case.mr_label is not None and not case.mr_label.data.any():
        raise DataError(
            f"{case.name}: no voxel of the crop is labelled by the MR's own label map; look at it and at the "
            "registration"
        )
    mr_label = None if case.mr_label is None else torch.from_numpy(case.mr_label.data)
    return LabelledCase(case.name, image, torch.from_numpy(case.label.data), mr_label, single=_is_single(case))


def blind(case: CroppedCase, intensity: Intensity) -> LabelledCase:
    """Convert a case to the network's input, with background as its label, so training sees no target label."""
    nothing = torch.zeros(case.grid.shape, dtype=torch.uint8)
    return LabelledCase(case.name, _input(case, intensity), nothing, single=_is_single(case))


def _is_single(case: CroppedCase) -> bool:
    return case.ct is None or case.mr is None


def _input(case: CroppedCase, intensity: Intensity) -> torch.Tensor:
    try:
        return torch.from_numpy(stack_input(case.ct, case.mr, intensity))
    except ValueError as error:
        raise DataError(f"{case.name}: {error}; remove or repair this subject's images") from error
