"""Lower bounds on a Lipschitz constant: the largest stretch found, by power iteration on the Jacobian."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

_TINY = 1e-30


def power_iteration(
    function: Callable[[Tensor], Tensor],
    x: Tensor,
    *,
    iterations: int,
    step: float,
    generator: torch.Generator,
    tolerance: float = 0.0,
) -> Iterator[float]:
    """Stretch `||F(x + h v) - F(x - h v)|| / ||2 h v||` along v, which turns to where F is most sensitive.

    Each is a lower bound on the Lipschitz constant of F whatever v is, up to rounding: it compares two outputs
    and assumes nothing of derivatives. The next direction is `J^T J v`, with J v from the two outputs.

    Args:
        function: F, from shape of x to any shape.
        x: point around which F is stretched.
        iterations: directions tried, at most; the first is drawn.
        step: h, for directions of norm 1.
        generator: generator on the CPU.
        tolerance: stop where a direction stretches more than the one before, but by less than this part.

    Yields:
        the stretch along each direction.
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
    """Compute `J^T u` at x, by automatic differentiation.

    Args:
        function: F.
        x: point at which the Jacobian is taken, any shape.
        u: shaped like F(x).
    """
    at = x.detach().requires_grad_()
    with torch.enable_grad():
        gradients: tuple[Tensor, ...] = torch.autograd.grad(function(at), at, u)
    return gradients[0]


def _unit(v: Tensor) -> Tensor:
    unit: Tensor = v / v.norm().clamp_min(_TINY)
    return unit
