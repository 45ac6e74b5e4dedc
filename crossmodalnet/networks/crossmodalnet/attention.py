"""Cross attention (Eq. 4) and its projections."""

import math

import torch
from einops import rearrange
from torch import Tensor, nn

from crossmodalnet.networks.crossmodalnet.config import Similarity, Values


def cross_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    similarity: Similarity = "dot",
    scale: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Compute Eq. 4: `Softmax(Q_b K_a^T / sqrt(d)) V`, of shape (b, heads, n, d).

    With `similarity: cosine` queries and keys have unit norm, and `scale` replaces `1 / sqrt(d)`. Scaling both
    inputs then scales the result, as Theorem 2.1.2 claims.

    Args:
        q: (b, heads, n, d), from stream b.
        k: (b, heads, m, d), from stream a.
        v: (b, heads, m, d), row j belongs to key j.
        scale: cosine only, broadcast against q, default sqrt(d).
        mask: added to the scores, broadcast against (b, heads, n, m).
    """
    if mask is not None:
        mask = mask.to(q.dtype)
    if similarity == "dot":
        return nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    q = nn.functional.normalize(q, dim=-1) * (math.sqrt(q.shape[-1]) if scale is None else scale)
    return nn.functional.scaled_dot_product_attention(
        q.to(v.dtype), nn.functional.normalize(k, dim=-1).to(v.dtype), v, mask, scale=1.0
    )


class CrossAttention(nn.Module):
    """Apply Eq. 4 with its projections, `CrossAttention(F_a, F_b)`: queries from b, keys from a.

    The projections have no bias, so that tests can check Theorem 2.1 on the module. The block's MLP follows at
    once, so there is no output projection. The learned scale per head of cosine similarity starts at 10.

    Example: F_a, F_b (216, 64, 24), 2 heads -> q, k, v (216, 2, 64, 12) -> (216, 64, 24).
    """

    def __init__(self, dim: int, num_heads: int, *, values: Values = "b", similarity: Similarity = "dot") -> None:
        super().__init__()
        self.num_heads = num_heads
        self.values = values
        self.similarity: Similarity = similarity
        self.query = nn.Linear(dim, dim, bias=False)
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.log_scale = nn.Parameter(torch.full((num_heads, 1, 1), math.log(10))) if similarity == "cosine" else None

    def forward(self, f_a: Tensor, f_b: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend from `f_b` `(b, n, c)` to `f_a` `(b, m, c)`, giving `(b, n, c)`; `mask` is added to the scores.

        Raises:
            ValueError: values come from b, but n and m differ.
        """
        if self.values == "b" and f_a.shape[1] != f_b.shape[1]:
            raise ValueError(
                "values: b needs as many tokens in both streams (Eq. 4 weighs values of b by keys of a), "
                f"got {f_a.shape[1]} and {f_b.shape[1]}"
            )
        q = self._heads(self.query(f_b))
        k = self._heads(self.key(f_a))
        v = self._heads(self.value(f_b if self.values == "b" else f_a))
        scale = None if self.log_scale is None else self.log_scale.exp()
        out = cross_attention(q, k, v, similarity=self.similarity, scale=scale, mask=mask)
        return out.transpose(1, 2).flatten(2)  # (b, n, c)

    def _heads(self, x: Tensor) -> Tensor:
        return rearrange(x, "b n (h d) -> b h n d", h=self.num_heads)
