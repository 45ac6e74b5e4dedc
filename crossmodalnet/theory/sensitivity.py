"""Bound Lipschitz constants from below by power iteration, and measure the growth of attention's sensitivity."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from crossmodalnet.networks.crossmodalnet.attention import CrossAttention
from crossmodalnet.networks.crossmodalnet.blocks import SwinBlock, WindowAttention
from crossmodalnet.networks.crossmodalnet.network import CrossModalNet, DualLayer
from crossmodalnet.theory.subject import capture_inputs

# Factors on the tokens of dot-product attention, and on one key of attention by cosine.
FACTORS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
SHRINKING = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
_NUM_TOKENS = 8
_ITERATIONS = 30
_STEP = 1e-7
_TINY = 1e-30

Growth = list[tuple[float, float]]  # factors and sensitivities


def power_iteration(
    function: Callable[[Tensor], Tensor],
    x: Tensor,
    *,
    iterations: int,
    step: float,
    generator: torch.Generator,
    tolerance: float = 0.0,
) -> Iterator[float]:
    """Yield `||F(x + h v) - F(x - h v)|| / ||2 h v||` along v, which turns to where F is most sensitive.

    Each value is a lower bound on the Lipschitz constant of F, up to rounding. v starts random, then is `J^T J v`.
    Stops when the value rises by less than the share `tolerance`.
    """
    v = _unit(torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device))
    before = math.inf
    for _ in range(iterations):
        with torch.no_grad():
            change = (function(x + step * v) - function(x - step * v)) / (2 * step)
        stretch = float(change.norm() / v.norm().clamp_min(_TINY))
        yield stretch
        if before <= stretch < (1 + tolerance) * before:
            return
        before = stretch
        v = _unit(pull_back(function, x, change))


def pull_back(function: Callable[[Tensor], Tensor], x: Tensor, u: Tensor) -> Tensor:
    """Compute `J^T u` at x by automatic differentiation; u has the shape of F(x)."""
    at = x.detach().requires_grad_()
    with torch.enable_grad():
        gradients: tuple[Tensor, ...] = torch.autograd.grad(function(at), at, u)
    return gradients[0]


def cross_growth(attention: CrossAttention, f_a: Tensor, f_b: Tensor, seed: int) -> Growth:
    """Measure the sensitivity of cross attention to tokens (n, c) of keys and queries, over factors on them.

    Dot product: the first query is zero, so its attention never saturates, and all other tokens grow (Kim, Papamakarios
    and Mnih 2021). Cosine: the growth cancels, so one key shrinks to zero instead.
    """
    module = copy.deepcopy(attention).double()
    pair = torch.stack([f_a, f_b]).double()
    if attention.similarity == "dot":
        pair[1, 0] = 0
        scaled = [(factor, factor * pair) for factor in FACTORS]
    else:
        scaled = []
        for factor in SHRINKING:
            smaller = pair.clone()
            smaller[0, 0] *= factor
            scaled.append((factor, smaller))
    return _sensitivities(lambda x: module(x[:1], x[1:]), scaled, seed)


def self_growth(attention: WindowAttention, f: Tensor, seed: int) -> Growth:
    """Measure the sensitivity of self-attention of `(n, c)`, without projection and position bias."""
    module = CrossAttention(f.shape[1], attention.num_heads, values="a").to(f.device).double()
    names = ("query", "key", "value")
    weights = zip(names, attention.qkv.weight.detach().chunk(3), strict=True)
    module.load_state_dict({f"{name}.weight": weight for name, weight in weights})
    tokens = f.double()[None].clone()
    tokens[:, 0] = 0
    scaled = [(factor, factor * tokens) for factor in FACTORS]
    return _sensitivities(lambda x: module(x, x), scaled, seed)


def deepest_attentions(network: CrossModalNet) -> tuple[CrossAttention | None, WindowAttention | None]:
    """Find CT's cross attention and first Swin attention in the deepest layer."""
    *_, layer = network.encoder[-1].children()
    assert isinstance(layer, DualLayer)
    cross = None if layer.cross is None else layer.cross[0].attention
    block = next(layer.swin[0].children(), None)
    assert cross is None or isinstance(cross, CrossAttention)
    assert block is None or isinstance(block, SwinBlock)
    return cross, None if block is None else block.attention


def own_inputs(network: nn.Module, attention: nn.Module, image: Tensor) -> list[Tensor]:
    """Capture up to eight tokens (n, c) of each input of an attention, spread over the first window."""
    captured = capture_inputs(network, image, type(attention)).values()
    inputs = next(arguments for module, arguments in captured if module is attention)
    streams = inputs[: 2 if isinstance(attention, CrossAttention) else 1]  # the mask comes after them
    places = torch.linspace(0, streams[0].shape[1] - 1, min(_NUM_TOKENS, streams[0].shape[1])).long()
    return [x[0, places.to(x.device)] for x in streams]


def growth_factor(growth: Growth) -> float:
    """Divide the largest sensitivity by the first one."""
    return max(value for _, value in growth) / max(growth[0][1], 1e-12)


def _sensitivities(function: Callable[[Tensor], Tensor], inputs: Sequence[tuple[float, Tensor]], seed: int) -> Growth:
    growth = []
    for factor, x in inputs:
        generator = torch.Generator().manual_seed(seed)
        stretches = power_iteration(function, x, iterations=_ITERATIONS, step=_STEP, generator=generator)
        growth.append((factor, max(stretches)))
    return growth


def _unit(v: Tensor) -> Tensor:
    return v / v.norm().clamp_min(_TINY)
