"""Parameter groups for the optimiser, EMA of the weights, and counts."""

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
    """Group weights that an optimiser treats alike."""

    parameters: list[nn.Parameter]
    rate: float  # learning rate relative to the network's
    decays: bool  # weight decay applies


def parameter_groups(network: nn.Module, offset_rate: float = 1.0) -> list[ParameterGroup]:
    """Sort the trained weights of a network into non-empty groups; each weight is in one group.

    Offsets of deformable operators learn at `offset_rate` times the network's rate (Deformable DETR, Zhu et al. 2021)
    and do not decay, which would pull them to zero. Vectors and tables of position biases do not decay either (Swin,
    Liu et al. 2021).

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
    """Return true for weights without decay: vectors and tables of biases."""
    return sum(n > 1 for n in parameter.shape) <= 1 or "bias" in name.rsplit(".", 1)[-1]


class EMA(AveragedModel):
    """Average a network's weights exponentially; the copy `module` has its buffers and no gradients."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        self.requires_grad_(False)
        # PyTorch would replace the initial average by the first weights.
        self.n_averaged.fill_(1)

    def follow(self, network: nn.Module, decay: float) -> None:
        """Update `mean <- decay mean + (1 - decay) weights`; decay is 0 to 1."""
        self.multi_avg_fn = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        self.update_parameters(network)


def count_parameters(network: nn.Module) -> int:
    """Count the trained weights; a shared weight counts once."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def count_flops(network: nn.Module, *inputs: Tensor) -> int:
    """Count the floating-point operations of one forward pass in evaluation mode (`FlopCounterMode`).

    A multiply-add is 2 operations. Matrix products, convolutions and attention count; biases, element-wise
    operations, normalisation, softmax, `grid_sample` and outputs of deep supervision do not.
    """
    before = network.training
    network.eval()
    # Fused attention pads heads on some devices; oneDNN's convolution (batches of one) has no formula.
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
