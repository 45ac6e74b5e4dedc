"""Which weights learn at a rate of their own, and which decay."""

from dataclasses import dataclass

from torch import nn

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
    """Sort the weights of a network that are trained; groups without any are left out.

    Offsets of deformable operators learn slower, as in Deformable DETR (Zhu et al. 2021), and do not decay, which
    would pull them to zero. What is a vector does not decay either, norms, biases, tokens and scales of heads, nor do
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
