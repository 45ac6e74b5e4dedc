"""Sliding-window inference."""

import torch
from monai.inferers import sliding_window_inference
from monai.networks import eval_mode
from torch import Tensor, nn


def predict_probabilities(
    network: nn.Module, image: Tensor, *, patch_size: tuple[int, int, int], overlap: float = 0.5
) -> Tensor:
    """Slide a window over a case and blend its class probabilities with Gaussian weights.

    Cases smaller than the patch are padded by repeating their border. Blending probabilities, not logits, keeps a
    confident window from outweighing the others.

    Args:
        network: `(b, 2, d, h, w)` to logits `(b, num_classes, d, h, w)`; its mode is restored afterwards.
        image: `(2, d, h, w)`, CT then MR, on any device.
        overlap: share of a patch that neighbouring windows have in common, 0 to below 1.

    Returns:
        `(num_classes, d, h, w)`, float32 on the network's device, summing to 1 over classes.

    Raises:
        ValueError: the image does not have four axes, or the overlap is out of range.

    >>> network = nn.Conv3d(2, 8, 1)
    >>> probabilities = predict_probabilities(network, torch.rand(2, 20, 16, 12), patch_size=(16, 16, 16))
    >>> tuple(probabilities.shape)
    (8, 20, 16, 12)
    """
    if image.ndim != 4:
        raise ValueError(f"image must have shape (2, d, h, w), got {tuple(image.shape)}")
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap must lie in [0, 1), got {overlap}")
    device = next((parameter.device for parameter in network.parameters()), image.device)
    with eval_mode(network), torch.inference_mode():
        blended: Tensor = sliding_window_inference(
            image[None].to(device, torch.float32),
            roi_size=patch_size,
            sw_batch_size=1,
            predictor=lambda patches: network(patches).float().softmax(dim=1),
            overlap=overlap,
            mode="gaussian",
            padding_mode="replicate",
        )
    return blended[0].clone()  # outside of inference mode: an ordinary tensor that callers may change
