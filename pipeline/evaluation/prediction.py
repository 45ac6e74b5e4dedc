"""A trained model's label map of a case, on the original CT grid."""

import torch
from torch import Tensor

from crossmodalnet.imaging.intensity import Intensity, stack_input
from crossmodalnet.imaging.missing import without
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.inference.segment import segment
from crossmodalnet.networks.common.card import LoadedModel
from crossmodalnet.roi.components import keep_largest_component
from crossmodalnet.roi.restore import restore_labels
from pipeline.config.sections import EvaluateConfig
from pipeline.evaluation.views import View
from pipeline.preparation.cropped import CroppedCase
from pipeline.runtime.errors import DataError


def predict_labels(
    model: LoadedModel, case: CroppedCase, params: EvaluateConfig, view: View = View.PAIR
) -> Volume:
    """Segment one case.

    Args:
        model: network, on the device it shall run on, and its card.
        case: CT and registered MR on the working grid.
        params: overlap of the windows.
        view: part of the case that the network is shown.

    Returns:
        Class indices (uint8) on the original grid, as the network gives them.

    Raises:
        DataError: an image has no contrast or is not finite, or the network's output is not finite.
    """
    image = network_input(case, model.card.intensity)
    if view.missing_channel is not None:
        image = without(image, view.missing_channel)
    probabilities = predict_input(model, image, case.name, params)
    return restore_labels(probabilities.numpy(), case.grid, case.native)


def network_input(case: CroppedCase, intensity: Intensity) -> Tensor:
    """Bring the images of a case to [0, 1], `(2, d, h, w)`; its label is not looked at.

    Raises:
        DataError: an image has no contrast or is not finite.
    """
    try:
        return torch.from_numpy(stack_input(case.ct, case.mr, intensity))
    except ValueError as error:
        raise DataError(f"{case.name}: {error}") from error


def predict_input(model: LoadedModel, image: Tensor, name: str, params: EvaluateConfig) -> Tensor:
    """Give the class probabilities of an input on the working grid.

    Args:
        model: network, on the device it shall run on, and its card.
        image: `(2, d, h, w)`.
        name: name of the case, for messages.
        params: overlap of the windows.

    Returns:
        `(num_classes, d, h, w)`, on the CPU.

    Raises:
        DataError: the network's output is not finite.
    """
    try:
        return segment(model, image, params.overlap)
    except ValueError as error:
        raise DataError(f"{name}: {error}") from error


def cleaned(labels: Volume, params: EvaluateConfig) -> Volume:
    """Keep the largest component of each structure, where the parameters say so."""
    if params.keep_largest_component:
        return Volume(keep_largest_component(labels.data), labels.affine)
    return labels
