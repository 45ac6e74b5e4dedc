"""Turn cropped cases into tensors, with or without their labels."""

import torch

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.intensity import Intensity, stack_input
from crossmodalnet.imaging.samples import LabelledCase
from pipeline.preparation.cases import CroppedCase


def labelled(case: CroppedCase, intensity: Intensity) -> LabelledCase:
    """Turn a case into the network's input and its truth.

    Raises:
        DataError: an image has no contrast or is not finite, there is no label, or a label map labels nothing.
    """
    image = _input(case, intensity)
    if case.label is None:
        raise DataError(
            f"{case.name}: the crop has no label map, and without one no case trains or validates"
        )
    if not case.label.data.any():
        raise DataError(
            f"{case.name}: no labelled voxel in the crop; look at the label map and the heart ROI"
        )
    if case.mr_label is not None and not case.mr_label.data.any():
        raise DataError(
            f"{case.name}: no voxel of the crop is labelled by the MR's own label map; look at it and at the "
            "registration"
        )
    mr_label = None if case.mr_label is None else torch.from_numpy(case.mr_label.data)
    return LabelledCase(
        case.name, image, torch.from_numpy(case.label.data), mr_label, single=_is_single(case)
    )


def blind(case: CroppedCase, intensity: Intensity) -> LabelledCase:
    """Turn a case into the network's input, with background in place of its label.

    Drawing patches needs a label map; training on a target domain must not see its labels.

    Raises:
        DataError: an image has no contrast or is not finite.
    """
    nothing = torch.zeros(case.grid.shape, dtype=torch.uint8)
    return LabelledCase(case.name, _input(case, intensity), nothing, single=_is_single(case))


def _is_single(case: CroppedCase) -> bool:
    return case.ct is None or case.mr is None


def _input(case: CroppedCase, intensity: Intensity) -> torch.Tensor:
    try:
        return torch.from_numpy(stack_input(case.ct, case.mr, intensity))
    except ValueError as error:
        raise DataError(f"{case.name}: {error}; remove or repair this subject's images") from error
