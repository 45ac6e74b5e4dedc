"""Parameter groups for the optimiser, EMA of the weights, and counts."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from monai.networks import eval_mode
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from crossmodalnet.networks.common.interfaces import HasOffsets


class ParameterGroup(NamedTuple):
    """Weights with one learning rate; `rate` is relative to the network's."""

    parameters: list[nn.Parameter]
    rate: float


def parameter_groups(network: nn.Module, offset_rate: float = 1.0) -> list[ParameterGroup]:
    """Sort the trained weights of a network into non-empty groups; each weight is in one group.

    Offsets of deformable operators learn at `offset_rate` times the network's rate (Deformable DETR, Zhu et al. 2021).

    >>> [(len(group.parameters), group.rate) for group in parameter_groups(nn.Linear(3, 2))]
    [(2, 1.0)]
    """
    operators = [module for module in network.modules() if isinstance(module, HasOffsets)]
    offsets = [parameter for operator in operators for parameter in operator.offset_parameters()]
    slow = {id(parameter) for parameter in offsets}
    others = [p for p in network.parameters() if p.requires_grad and id(p) not in slow]
    groups = [ParameterGroup(others, 1.0), ParameterGroup(offsets, offset_rate)]
    return [group for group in groups if group.parameters]


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
    # Fused attention pads heads on some devices; oneDNN's convolution (batches of one) has no formula.
    onednn = {torch.ops.aten.mkldnn_convolution: _convolution_flops}
    counter = FlopCounterMode(display=False, custom_mapping=onednn)
    with eval_mode(network), sdpa_kernel(SDPBackend.MATH), counter:
        network(*inputs)
    return int(counter.get_total_flops())


def _convolution_flops(
    x: Sequence[int], weight: Sequence[int], *_: object, out_shape: Sequence[int], **__: object
) -> int:
    return int(conv_flop_count(list(x), list(weight), list(out_shape)))
