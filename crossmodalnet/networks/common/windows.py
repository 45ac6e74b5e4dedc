"""Partition token maps into windows, with padding, cyclic shift and attention masks."""

from functools import lru_cache
from math import prod

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from crossmodalnet.networks.common.sizes import Triple, padded_size


def partition(x: Tensor, window: Triple, shift: Triple = (0, 0, 0)) -> Tensor:
    """Partition a map `(b, d, h, w, c)` into windows `(b * num_windows, tokens per window, c)`.

    Zeros pad its far end to whole windows. The window grid is shifted cyclically by `shift` tokens.
    """
    size: Triple = (x.shape[1], x.shape[2], x.shape[3])
    padded = padded_size(size, window)
    if padded != size:
        far = [extra for n, p in zip(reversed(size), reversed(padded), strict=True) for extra in (0, p - n)]
        x = nn.functional.pad(x, (0, 0, *far))
    if any(shift):
        x = torch.roll(x, (-shift[0], -shift[1], -shift[2]), dims=(1, 2, 3))
    wd, wh, ww = window
    return rearrange(x, "b (d wd) (h wh) (w ww) c -> (b d h w) (wd wh ww) c", wd=wd, wh=wh, ww=ww)


def reverse(windows: Tensor, size: Triple, window: Triple, shift: Triple = (0, 0, 0)) -> Tensor:
    """Undo `partition`: assemble the map `(b, d, h, w, c)` of `size` and crop the padding."""
    padded = padded_size(size, window)
    d, h, w = (n // m for n, m in zip(padded, window, strict=True))
    wd, wh, ww = window
    x: Tensor = rearrange(
        windows, "(b d h w) (wd wh ww) c -> b (d wd) (h wh) (w ww) c", d=d, h=h, w=w, wd=wd, wh=wh, ww=ww
    )
    if any(shift):
        x = torch.roll(x, shift, dims=(1, 2, 3))
    if padded != size:
        x = x[:, : size[0], : size[1], : size[2]]
    return x


@lru_cache(maxsize=64)
def attention_mask(size: Triple, window: Triple, shift: Triple, device: torch.device) -> Tensor | None:
    """Build the mask `(num_windows, n, n)`, 0 or -inf, to be added to the scores; None if nothing is forbidden.

    It forbids attention to padding, and between tokens that only the cyclic shift brings together. A token may always
    attend to itself, so that no row is empty.
    """
    if padded_size(size, window) == size and not any(shift):
        return None
    with torch.inference_mode(False):  # the cached mask must also serve training
        pieces = _pieces(size, window, shift, device)
        ids = partition(pieces, window, shift).squeeze(-1)  # (num_windows, n), 0 = padding
        allowed = (ids[:, :, None] == ids[:, None, :]) & (ids[:, None, :] > 0)
        allowed |= torch.eye(prod(window), dtype=torch.bool, device=device)
        return torch.zeros(allowed.shape, device=device).masked_fill_(~allowed, -torch.inf)


def _pieces(size: Triple, window: Triple, shift: Triple, device: torch.device) -> Tensor:
    """Number from 1 the pieces `(1, d, h, w, 1)` into which the shifted window grid cuts the unpadded map."""
    axes = [
        torch.div(torch.arange(n, device=device) - s, m, rounding_mode="floor") + 1
        for n, m, s in zip(size, window, shift, strict=True)
    ]
    d, h, w = torch.meshgrid(*axes, indexing="ij")
    per_axis = max(size) + 2
    return (1 + w + per_axis * (h + per_axis * d))[None, ..., None]


def over_batch(mask: Tensor | None, num_windows: int) -> Tensor | None:
    """Repeat a mask `(windows of one case, n, m)` for all cases of a batch: `(num_windows, 1, n, m)`."""
    if mask is None:
        return None
    return repeat(mask, "w n m -> (b w) 1 n m", b=num_windows // mask.shape[0])


def displacements(window: Triple) -> Tensor:
    """Return the 3-D displacements between the tokens of a window: `(3, n, n)`."""
    grid = torch.stack(torch.meshgrid(*(torch.arange(n) for n in window), indexing="ij")).flatten(1)
    return grid[:, :, None] - grid[:, None, :]


def relative_index(window: Triple, table: Triple | None = None) -> Tensor:
    """Number the displacements within a window by their rows in a table for windows of `table`: `(n, n)`.

    The rows of the table, by default that of the window itself, are 0 to prod(2 n - 1) - 1.
    """
    table = table or window
    d, h, w = displacements(window) + torch.tensor(table)[:, None, None] - 1
    return (d * (2 * table[1] - 1) + h) * (2 * table[2] - 1) + w
