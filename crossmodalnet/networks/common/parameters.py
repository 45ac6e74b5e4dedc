"""Parameters of a network: groups for the optimiser, their EMA, and counts."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from crossmodalnet.networks.common.interfaces import HasOffsets


@dataclass(frozen=True)
class ParameterGroup:
    """Weights that an optimiser treats alike.

    Attributes:
        parameters: the weights; every weight of a network is in one group.
        rate: learning rate over the network's.
        decays: whether weight decay applies.
    """

    parameters: list[nn.Parameter]
    rate: float
    decays: bool


def parameter_groups(network: nn.Module, offset_rate: float = 1.0) -> list[ParameterGroup]:
    """Sort the trained weights of a network into groups; empty groups are left out.

    Offsets of deformable operators learn slower, as in Deformable DETR (Zhu et al. 2021), and do not decay, which
    would pull them to zero. Vectors do not decay either (norms, biases, tokens, scales of heads), nor do
    tables of position biases, as in Swin transformers (Liu et al. 2021).

    Args:
        network: any.
        offset_rate: learning rate of offsets over that of all else.

    >>> groups = parameter_groups(nn.Linear(3, 2))
    >>> [(len(group.parameters), group.rate, group.decays) for group in groups]
    [(1, 1.0, True), (1, 1.0, False)]
    """
    operators = [module for module in network.modules() if isinstance(module, HasOffsets)]
    offsets = [parameter for operator in operators for parameter in operator.offset_parameters()]
    slow = {id(parameter) for parameter in offsets}
    others = [(n, p) for n, p in network.named_parameters() if p.requires_grad and id(p) not in slow]
    groups = [
        ParameterGroup([p for n, p in others if not _is_exempt(n, p)], 1.0, decays=True),
        ParameterGroup([p for n, p in others if _is_exempt(n, p)], 1.0, decays=False),
        ParameterGroup(offsets, offset_rate, decays=False),
    ]
    return [group for group in groups if group.parameters]


def _is_exempt(name: str, parameter: nn.Parameter) -> bool:
    """Tell whether a weight does not decay: a vector, or a table of biases."""
    return sum(n > 1 for n in parameter.shape) <= 1 or "bias" in name.rsplit(".", 1)[-1]


class EMA(AveragedModel):
    """Exponential moving average of the weights of a network, with the buffers of that network.

    `module` is a copy of the network without gradients.

    Args:
        network: network to copy; the average starts at its weights.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        self.requires_grad_(False)
        # The start counts: PyTorch would take the first weights that it is shown in its place.
        self.n_averaged.fill_(1)

    def follow(self, network: nn.Module, decay: float) -> None:
        """Move towards the network's weights: `mean <- decay mean + (1 - decay) weights`; decay is 0 to 1."""
        self.multi_avg_fn = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        self.update_parameters(network)


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
