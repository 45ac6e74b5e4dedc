"""A trained model's label map of a case, on the original CT grid."""

import numpy as np
import torch

from crossmodalnet.imaging.components import keep_largest_component
from crossmodalnet.imaging.intensity import stack_input
from crossmodalnet.imaging.restore import restore_labels
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.inference import predict_probabilities
from pipeline.cropped import CroppedCase
from pipeline.errors import DataError
from pipeline.model_card import LoadedModel
from pipeline.params.evaluate import EvaluateParams


def predict_labels(model: LoadedModel, case: CroppedCase, params: EvaluateParams) -> Volume:
    """Segment one case.

    Args:
        model: network, on the device it shall run on, and its card.
        case: CT and registered MR on the working grid.
        params: overlap of the windows.

    Returns:
        Class indices (uint8) on the original grid, as the network gives them.

    Raises:
        DataError: an image has no contrast or is not finite, or the network's output is not finite.
    """
    try:
        image = stack_input(case.ct, case.mr, model.card.intensity)
    except ValueError as error:
        raise DataError(f"{case.name}: {error}") from error
    probabilities = predict_probabilities(
        model.network, torch.from_numpy(image), patch_size=model.card.patch_size, overlap=params.overlap
    )
    on_cpu = probabilities.cpu().numpy()
    if not np.isfinite(on_cpu).all():
        raise DataError(
            f"{case.name}: the network's output is not finite; train again with a smaller train.lr"
        )
    return restore_labels(on_cpu, case.grid, case.native)


def cleaned(labels: Volume, params: EvaluateParams) -> Volume:
    """Keep the largest component of each structure, where the parameters say so."""
    if params.keep_largest_component:
        return Volume(keep_largest_component(labels.data), labels.affine)
    return labels
