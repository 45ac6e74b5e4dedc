"""Swin's blocks (Liu et al., arXiv 2103.14030) as nnFormer and Swin-Unet use them, named as in published weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import torch
from einops import rearrange
from timm.layers import DropPath, Mlp, trunc_normal_
from torch import Tensor, nn

from crossmodalnet.networks.common.sizes import Triple, effective_shift, effective_window, padded_size
from crossmodalnet.networks.common.windows import (
    attention_mask,
    displacements,
    over_batch,
    partition,
    relative_index,
    reverse,
)


@dataclass(frozen=True)
class WindowRule:
    """Cut the maps of a level into windows.

    Legacy is nnFormer as published: cubic windows shrink to the shortest axis of a smaller map and lose the shift on
    all axes, others never shrink; padding is attended to; offsets share rows of the table (`legacy_index`).
    """

    window: Triple  # tokens per window and axis, the extent of the table of relative positions
    legacy: bool = False
    shift_mask: bool = True  # legacy only: mask tokens that a shift brings together

    def cut(self, size: Triple, *, shifted: bool) -> tuple[Triple, Triple]:
        """Return the window and the shift for a map of `size` tokens per axis."""
        d, h, w = self.window
        half: Triple = (d // 2, h // 2, w // 2) if shifted else (0, 0, 0)
        if not self.legacy:
            return effective_window(size, self.window), effective_shift(size, self.window, half)
        if d == h == w and min(size) <= d:
            return (min(size),) * 3, (0, 0, 0)
        return self.window, (0, 0, 0) if size == self.window else half

    def mask(self, size: Triple, window: Triple, shift: Triple, device: torch.device) -> Tensor | None:
        """Return the mask `(num_windows, n, n)` to be added to the scores, or None; see `attention_mask`."""
        if not self.legacy:
            return attention_mask(size, window, shift, device)
        # With the padded size, padding is not masked.
        return attention_mask(padded_size(size, window), window, shift, device) if self.shift_mask else None

    def index(self, window: Triple, device: torch.device) -> Tensor:
        """Return the table row of each pair of tokens of an effective `window`, flattened."""
        return _index(window, self.window, self.legacy, device)


def legacy_index(window: Triple) -> Tensor:
    """Number the displacements as published: `(n, n)`.

    The strides are (3 h - 1, 2 h - 1, 1) for a window (d, h, w); distinct rows would need (2 h - 1)(2 w - 1) and
    2 w - 1. With 4^3 tokens, 343 displacements share 115 rows.
    """
    d, h, w = displacements(window) + torch.tensor(window)[:, None, None] - 1
    return d * (3 * window[1] - 1) + h * (2 * window[1] - 1) + w


@lru_cache(maxsize=64)
def _index(window: Triple, table: Triple, legacy: bool, device: torch.device) -> Tensor:
    with torch.inference_mode(False), torch.device("cpu"):  # the cached index must also serve training
        index = legacy_index(window) if legacy else relative_index(window, table)
        return index.flatten().to(device)


def _drop_published_index(
    module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Mapping[str, Any] | bool | list[str]
) -> None:
    """Drop the position index of published weights; here it follows from the window."""
    state_dict.pop(f"{prefix}relative_position_index", None)


class SwinAttention(nn.Module):
    """Apply multi-head attention within windows, with relative position biases per head.

    With `from_skip` (nnFormer's skip attention) keys and values come from a skip connection, and queries are the
    unprojected input.

    Example: (512, 64, 192), 6 heads -> q, k, v (512, 6, 64, 32) -> (512, 64, 192).
    """

    def __init__(self, dim: int, num_heads: int, rule: WindowRule, *, from_skip: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.rule = rule
        self.relative_position_bias_table = nn.Parameter(torch.zeros(prod(2 * n - 1 for n in rule.window), num_heads))
        trunc_normal_(self.relative_position_bias_table, std=0.02)
        if from_skip:
            self.kv = nn.Linear(dim, 2 * dim)
        else:
            self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.register_load_state_dict_pre_hook(_drop_published_index)  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor, skip: Tensor | None, window: Triple, mask: Tensor | None) -> Tensor:
        """Attend within windows `(b * num_windows, n, c)`, of `x` or from `x` to `skip`."""
        if skip is None:
            q, k, v = rearrange(self.qkv(x), "b n (three h d) -> three b h n d", three=3, h=self.num_heads)
        else:
            k, v = rearrange(self.kv(skip), "b n (two h d) -> two b h n d", two=2, h=self.num_heads)
            q = rearrange(x, "b n (h d) -> b h n d", h=self.num_heads).to(k.dtype)
        index = self.rule.index(window, x.device)
        bias = self.relative_position_bias_table.index_select(0, index)
        scores = rearrange(bias, "(n m) h -> 1 h n m", n=prod(window))
        forbidden = over_batch(mask, x.shape[0])
        scores = scores if forbidden is None else scores + forbidden
        out = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=scores.to(q.dtype))
        return self.proj(rearrange(out, "b h n d -> b n (h d)"))


class PreNormBlock(nn.Module):
    """Apply the Swin block `x = x + MSA(LN(x)); x + MLP(LN(x))` to a map, or from a map to a skip connection.

    Example: x (1, 32, 32, 32, 192), window 4 -> windows (512, 64, 192) -> (1, 32, 32, 32, 192).
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        rule: WindowRule,
        *,
        shifted: bool,
        from_skip: bool = False,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.rule = rule
        self.shifted = shifted
        self.norm1 = nn.LayerNorm(dim)
        self.attn = SwinAttention(dim, num_heads, rule, from_skip=from_skip)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, 4 * dim)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        """Map `(b, d, h, w, c)`, and a skip connection of the same shape, to that shape."""
        size: Triple = (x.shape[1], x.shape[2], x.shape[3])
        window, shift = self.rule.cut(size, shifted=self.shifted)
        mask = self.rule.mask(size, window, shift, x.device)
        keys = None if skip is None else partition(self.norm1(skip), window, shift)
        attended = self.attn(partition(self.norm1(x), window, shift), keys, window, mask)
        x = x if skip is None else x + skip  # the residual is the sum of both
        x = x + self.drop_path(reverse(attended, size, window, shift))
        return x + self.drop_path(self.mlp(self.norm2(x)))
