"""What a network, or a part of one, costs on paper: parameters and floating-point operations."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count


def count_parameters(network: nn.Module) -> int:
    """Number of weights that are trained; a weight that is used twice counts once."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def count_flops(network: nn.Module, *inputs: Tensor) -> int:
    """Floating-point operations of one forward pass in evaluation mode, as PyTorch's `FlopCounterMode` counts.

    A multiplication with its addition is 2 operations. Counted are matrix products, convolutions and attention
    (`Q K^T` and the product with the values); not counted are biases, element-wise operations, normalisation,
    softmax and the sampling of `grid_sample`. Outputs of deep supervision are not computed, as in inference.

    Args:
        network: network to count in; its mode is restored afterwards.
        inputs: inputs on the network's device; for a network `(b, 2, d, h, w)`.
    """
    before = network.training
    network.eval()
    # Fused attention pads heads on some devices; plain products are the same everywhere.
    # oneDNN's convolution, which a batch of one takes, has no formula.
    onednn = {torch.ops.aten.mkldnn_convolution: _convolution_flops}
    counter = FlopCounterMode(display=False, custom_mapping=onednn)
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
            network(*inputs)
    finally:
        network.train(before)
    return int(counter.get_total_flops())


def _convolution_flops(
    x: Sequence[int], weight: Sequence[int], *_: object, out_shape: Sequence[int], **__: object
) -> int:
    return int(conv_flop_count(list(x), list(weight), list(out_shape)))
