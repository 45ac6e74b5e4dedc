"""Gradient reversal (Ganin & Lempitsky 2015), alone and on side branches whose say is bounded."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradient, None


def reverse_gradient(x: Tensor, strength: float) -> Tensor:
    """Give `x` itself; the gradient that comes back through it is multiplied by `-strength`."""
    return cast(Tensor, _Reversal.apply(x, strength))


class _Branch(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, num_source: int, strengths: tuple[float, ...], cap: float
    ) -> tuple[Tensor, ...]:
        ctx.num_source, ctx.strengths, ctx.cap = num_source, strengths, cap
        # A side that nothing is computed from has no gradient, instead of one of zeros.
        ctx.set_materialize_grads(False)
        return tuple(x.view_as(x) for _ in range(1 + len(strengths)))

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, main: Tensor | None, *sides: Tensor | None
    ) -> tuple[Tensor | None, None, None, None]:
        if main is None:
            return None, None, None, None
        limit = ctx.cap * main[: ctx.num_source].float().norm()
        total = main
        for strength, side in zip(ctx.strengths, sides, strict=True):
            if side is None:
                continue
            norm = abs(strength) * side.float().norm()
            # Not a number where the norm is: a loss that diverges must be seen, not hidden.
            factor = strength * (limit / norm.clamp_min(torch.finfo(torch.float32).tiny)).clamp_max(1.0)
            total = total + factor.to(side.dtype) * side
        return total, None, None, None


def branch(x: Tensor, num_source: int, strengths: Sequence[float], cap: float) -> tuple[Tensor, ...]:
    """Give `x` for the way on, and once more for each side branch.

    Backward, a side branch's gradient is multiplied by its strength (negative: reversed) and, where that is longer,
    shortened to `cap` times the norm of the gradient that the way on sends to the source samples, which is the
    supervised objectives' but for what other branches further on add. So no side outweighs the labels, whatever
    the scales of the losses.

    Args:
        x: features of a batch, the source samples first, `(b, ...)`.
        num_source: number of source samples, which come first.
        strengths: strengths, one per side branch.
        cap: largest norm of a side's gradient, over that of the supervised one.

    Returns:
        `1 + len(strengths)` tensors equal to `x`.
    """
    return cast(
        "tuple[Tensor, ...]",
        _Branch.apply(x, num_source, tuple(strengths), cap),
    )
