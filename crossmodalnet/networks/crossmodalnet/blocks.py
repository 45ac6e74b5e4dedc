"""Swin (Def. 1, Eq. 2) and Cross Transformer (Eq. 3) blocks."""

from collections.abc import Callable
from math import prod

import torch
from einops import rearrange
from timm.layers import Mlp, trunc_normal_
from torch import Tensor, nn

from crossmodalnet.networks.common.sizes import Triple, effective_shift
from crossmodalnet.networks.common.windows import attention_mask, over_batch, partition, relative_index, reverse
from crossmodalnet.networks.crossmodalnet.attention import CrossAttention
from crossmodalnet.networks.crossmodalnet.config import Refines, Residual
from crossmodalnet.networks.crossmodalnet.deformable import DeformableOperator


def residual_block(f: Tensor, attended: Tensor, mlp: Callable[[Tensor], Tensor], residual: Residual) -> Tensor:
    """Add the residual connections and the MLP, `mlp` = `MLP(LN(.))`, to the attention A of a block with input F.

    Residual paper is Eq. 2 as printed, `MLP(LN(A + F)) + F`; standard is pre-norm, `x = A + F; MLP(LN(x)) + x`.
    """
    if residual == "paper":
        out: Tensor = f + mlp(attended + f)
    else:
        x: Tensor = f + attended
        out = x + mlp(x)
    return out


class WindowAttention(nn.Module):
    """Apply multi-head self-attention within windows, with relative 3-D position biases per head.

    The projections of queries, keys and values have no bias: softmax ignores a constant added to all keys.

    Example: (216, 64, 24), 2 heads -> q, k, v (216, 2, 64, 12) -> (216, 64, 24).
    """

    index: Tensor

    def __init__(self, dim: int, num_heads: int, window: Triple) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.proj = nn.Linear(dim, dim)
        self.position_bias = nn.Parameter(torch.zeros(prod(2 * n - 1 for n in window), num_heads))
        trunc_normal_(self.position_bias, std=0.02)
        self.register_buffer("index", relative_index(window).flatten(), persistent=False)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend within windows `(b * num_windows, n, c)`; `mask` `(num_windows, n, n)` is added to the scores."""
        b, n, _ = x.shape
        q, k, v = rearrange(self.qkv(x), "b n (three h d) -> three b h n d", three=3, h=self.num_heads)
        bias = self.position_bias.index_select(0, self.index).T.reshape(1, self.num_heads, n, n)
        forbidden = over_batch(mask, b)
        scores_bias = bias if forbidden is None else bias + forbidden
        out = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=scores_bias.to(q.dtype))
        return self.proj(out.transpose(1, 2).flatten(2))


class SwinBlock(nn.Module):
    """Apply Def. 1, Eq. 2: `S(F) = MLP(LN(MSA(LN(F)) + F)) + F`.

    Example: F (1, 24, 24, 24, 24), window 4 -> windows (216, 64, 24) -> attention -> (1, 24, 24, 24, 24).
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        window: Triple,
        *,
        shifted: bool,
        residual: Residual = "paper",
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        self.window = window
        self.shift: Triple = (window[0] // 2, window[1] // 2, window[2] // 2) if shifted else (0, 0, 0)
        self.residual: Residual = residual
        self.norm1 = nn.LayerNorm(dim)
        self.attention = WindowAttention(dim, num_heads, window)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, round(dim * mlp_ratio))

    def forward(self, f: Tensor) -> Tensor:
        """Map `(b, d, h, w, c)` to the same shape; the window must not exceed the map."""
        size: Triple = (f.shape[1], f.shape[2], f.shape[3])
        shift = effective_shift(size, self.window, self.shift)
        mask = attention_mask(size, self.window, shift, f.device)
        windows = self.attention(partition(self.norm1(f), self.window, shift), mask)
        attended = reverse(windows, size, self.window, shift)
        return residual_block(f, attended, self._mlp, self.residual)

    def _mlp(self, x: Tensor) -> Tensor:
        return self.mlp(self.norm2(x))


class CrossTransformerBlock(nn.Module):
    """Apply Eq. 3: `CrossTransformer(F_a, F_b) = MLP(LN(CrossAttention(LN(F_a), LN(F_b)) + F_a)) + F_a`.

    Eq. 3 refines the stream that gives Eq. 4 its keys; `refines: queries` is the usual form, which refines the
    queries' stream. The deformable operator acts on the keys' stream (and, with `values: a`, on the values). With
    `values: b` the norm of the keys has no bias: softmax ignores a constant added to all keys.

    Example: F_a, F_b (1, 24, 24, 24, 24), window 4 -> windows (216, 64, 24) -> F_a (1, 24, 24, 24, 24).
    """

    def __init__(
        self,
        dim: int,
        attention: CrossAttention,
        *,
        window: Triple | None,  # None: attention over all tokens
        sampler: DeformableOperator | None,
        refines: Refines = "keys",
        residual: Residual = "paper",
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        self.window = window
        self.refines = refines
        self.residual: Residual = residual
        self.norm_keys = nn.LayerNorm(dim, bias=attention.values == "a")
        self.norm_queries = nn.LayerNorm(dim)
        self.sampler = sampler
        self.attention = attention
        self.norm = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, round(dim * mlp_ratio))

    def forward(self, own: Tensor, other: Tensor) -> Tensor:
        """Refine `own` by attention with `other`, both `(b, d, h, w, c)`."""
        asked, asking = (own, other) if self.refines == "keys" else (other, own)
        keys = self.norm_keys(asked)
        if self.sampler is not None:
            keys = self.sampler(keys)
        attended = self._attend(keys, self.norm_queries(asking))
        return residual_block(own, attended, self._mlp, self.residual)

    def _attend(self, f_a: Tensor, f_b: Tensor) -> Tensor:
        size: Triple = (f_a.shape[1], f_a.shape[2], f_a.shape[3])
        window = self.window or size
        windows = partition(f_a, window)
        mask = over_batch(attention_mask(size, window, (0, 0, 0), f_a.device), windows.shape[0])
        return reverse(self.attention(windows, partition(f_b, window), mask), size, window)

    def _mlp(self, x: Tensor) -> Tensor:
        return self.mlp(self.norm(x))
