"""2-D Swin blocks (Liu et al., arXiv 2103.14030), patch embedding, merging and expanding, for any size.

Patch expanding: Cao et al., arXiv 2105.05537, section 3.4. Swin's checkpoints load into the encoder.
"""

import torch
from einops import rearrange
from timm.layers import DropPath, Mlp, trunc_normal_
from torch import Tensor, nn

from crossmodalnet.networks.common.sizes import Triple, effective_shift, effective_window
from crossmodalnet.networks.common.windows import attention_mask, over_batch, partition, relative_index, reverse


class WindowAttention2d(nn.Module):
    """Apply multi-head self-attention within square windows, clipped to smaller maps.

    Example: windows of 7x7 tokens (1536, 49, 96), 3 heads -> q, k, v (1536, 3, 49, 32) -> (1536, 49, 96).
    """

    index: Tensor

    def __init__(self, dim: int, num_heads: int, window: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, num_heads))
        trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        index = relative_index((1, window, window)).view(window, window, window, window)
        self.register_buffer("index", index, persistent=False)

    def forward(self, x: Tensor, window: tuple[int, int], mask: Tensor | None = None) -> Tensor:
        """Attend within windows `(b * num_windows, n, c)` of `window` tokens per axis, at most those of the bias table.

        The mask `(num_windows, n, n)` is added to the scores.
        """
        q, k, v = rearrange(self.qkv(x), "b n (three h d) -> three b h n d", three=3, h=self.num_heads)
        bias, forbidden = self.position_bias(window), over_batch(mask, len(x))
        scores_bias = bias if forbidden is None else bias + forbidden
        out = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=scores_bias.to(q.dtype))
        return self.proj(out.transpose(1, 2).flatten(2))

    def position_bias(self, window: tuple[int, int]) -> Tensor:
        """Look up the bias `(1, heads, n, n)` of the scores in a window, by true displacement."""
        h, w = window
        rows = self.index[:h, :w, :h, :w].reshape(-1)
        bias = self.relative_position_bias_table.index_select(0, rows)
        return bias.T.reshape(1, self.num_heads, h * w, h * w)


class SwinBlock2d(nn.Module):
    """Apply the Swin block `x = x + MSA(LN(x)); x + MLP(LN(x))`; windows clipped to the map are not shifted."""

    def __init__(
        self, dim: int, num_heads: int, window: int, *, shifted: bool, mlp_ratio: float, drop_path: float
    ) -> None:
        super().__init__()
        self.window = window
        self.shift = window // 2 if shifted else 0
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention2d(dim, num_heads, window)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, round(dim * mlp_ratio))
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, h, w, c)` to the same shape."""
        x = x + self.drop_path(self._attend(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def _attend(self, x: Tensor) -> Tensor:
        size: Triple = (1, x.shape[1], x.shape[2])
        window = effective_window(size, (1, self.window, self.window))
        shift = effective_shift(size, window, (0, self.shift, self.shift))
        mask = attention_mask(size, window, shift, x.device)
        attended = self.attn(partition(x.unsqueeze(1), window, shift), window[1:], mask)
        return reverse(attended, size, window, shift).squeeze(1)


class SwinUnetPatchEmbed(nn.Module):
    """Embed square patches as normalised tokens; zeros at the far end pad images to whole patches.

    Example: patch 4; (24, 2, 224, 224) -> (24, 56, 56, 96).
    """

    def __init__(self, in_channels: int, dim: int, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.proj = nn.Conv2d(in_channels, dim, kernel_size=patch, stride=patch)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, c, h, w)` to tokens `(n, ceil(h / patch), ceil(w / patch), dim)`."""
        far_h, far_w = (-n % self.patch for n in x.shape[2:])
        x = self.proj(nn.functional.pad(x, (0, far_w, 0, far_h)))
        return self.norm(x.permute(0, 2, 3, 1))


class PatchMerging2d(nn.Module):
    """Merge four neighbouring tokens into one of twice the channels; a zero token pads an odd axis.

    Example: (24, 56, 56, 96) -> (24, 28, 28, 384) -> (24, 28, 28, 192).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, h, w, c)` to `(n, ceil(h / 2), ceil(w / 2), 2 c)`."""
        odd_h, odd_w = x.shape[1] % 2, x.shape[2] % 2
        if odd_h or odd_w:
            x = nn.functional.pad(x, (0, 0, 0, odd_w, 0, odd_h))
        # Swin's order: down the first axis before the second.
        x = rearrange(x, "n (h p) (w q) c -> n h w (q p c)", p=2, q=2)
        return self.reduction(self.norm(x))
