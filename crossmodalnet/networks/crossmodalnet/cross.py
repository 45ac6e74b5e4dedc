"""The Cross Transformer block (Eq. 3): Eq. 2 with cross attention in place of self-attention."""

from timm.layers import DropPath, Mlp
from torch import Tensor, nn

from crossmodalnet.networks.common.sizes import Triple
from crossmodalnet.networks.common.windows import attention_mask, over_batch, partition, reverse
from crossmodalnet.networks.crossmodalnet.attention import CrossAttention
from crossmodalnet.networks.crossmodalnet.choices import Refines, Residual
from crossmodalnet.networks.crossmodalnet.deformable import DeformableOperator
from crossmodalnet.networks.crossmodalnet.swin import residual_block


class CrossTransformerBlock(nn.Module):
    """Eq. 3: `CrossTransformer(F_a, F_b) = MLP(LN(CrossAttention(LN(F_a), LN(F_b)) + F_a)) + F_a`.

    Eq. 3 refines its first argument, from which Eq. 4 takes the keys; `refines: queries` swaps the roles, so
    that the refined stream asks and the other one answers, as is usual. The deformable operator acts on the
    stream of the keys: what the queries attend to (and, with `values: a`, fetch).

    The norm of the keys' stream has no bias with `values: b`: softmax ignores a constant added to all keys.

    Example: F_a, F_b (1, 24, 24, 24, 24), window 4 -> windows (216, 64, 24) -> F_a (1, 24, 24, 24, 24).

    Args:
        dim: channels of either stream.
        attention: Eq. 4.
        window: aligned windows in which both streams meet; None is attention over all tokens.
        sampler: the deformable operator, or None.
        refines: keys (the paper) or queries.
        residual: paper or standard, see `residual_block`.
        mlp_ratio: hidden width of the MLP over `dim`.
        drop_path: probability of skipping a branch in training.
    """

    def __init__(
        self,
        dim: int,
        attention: CrossAttention,
        *,
        window: Triple | None,
        sampler: DeformableOperator | None,
        refines: Refines = "keys",
        residual: Residual = "paper",
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
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
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, own: Tensor, other: Tensor) -> Tensor:
        """Refine `own` with the help of `other`, both `(b, d, h, w, c)`; neither is changed in place."""
        asked, asking = (own, other) if self.refines == "keys" else (other, own)
        keys = self.norm_keys(asked)
        if self.sampler is not None:
            keys = self.sampler(keys)
        attended = self._attend(keys, self.norm_queries(asking))
        return residual_block(own, attended, self._mlp, self.drop_path, self.residual)

    def _attend(self, f_a: Tensor, f_b: Tensor) -> Tensor:
        size: Triple = (f_a.shape[1], f_a.shape[2], f_a.shape[3])
        window = self.window or size
        windows = partition(f_a, window)
        mask = over_batch(attention_mask(size, window, (0, 0, 0), f_a.device), windows.shape[0])
        return reverse(self.attention(windows, partition(f_b, window), mask), size, window)

    def _mlp(self, x: Tensor) -> Tensor:
        out: Tensor = self.mlp(self.norm(x))
        return out
