"""Blocks and transitions of VT-UNet (Peiris et al., MICCAI 2022)."""

from math import ceil, prod

import torch
from einops import rearrange
from timm.layers import DropPath, Mlp, trunc_normal_
from torch import Tensor, nn

from crossmodalnet.networks.common.sizes import Triple, effective_shift, effective_window, padded_size
from crossmodalnet.networks.common.windows import attention_mask, over_batch, partition, relative_index, reverse

Memory = tuple[Tensor, Tensor]


def position_encoding(size: Triple, channels: int, device: torch.device) -> Tensor:
    """Encode positions by fixed sines and cosines, the decoder's "Fourier" term: `(1, d, h, w, channels)`.

    Each axis has `2 ceil(channels / 6)` channels, sines before cosines, with wavelengths from 2 pi to
    10000 * 2 pi tokens; what exceeds `channels` is cut off.
    """
    per_axis = 2 * ceil(channels / 6)
    frequencies = 10000.0 ** -(torch.arange(0, per_axis, 2, device=device) / per_axis)
    waves = []
    for axis, n in enumerate(size):
        angles = torch.arange(n, device=device, dtype=torch.float32)[:, None] * frequencies
        shape = [n if other == axis else 1 for other in range(3)]
        waves.append(torch.cat((angles.sin(), angles.cos()), dim=-1).view(*shape, per_axis).expand(*size, -1))
    return torch.cat(waves, dim=-1)[None, ..., :channels]


class VTAttention(nn.Module):
    """Apply window attention of the tokens to themselves, and to given keys and values.

    Both share the query, the relative position bias, the mask and the output projection. As published, `legacy` scales
    the query of the cross attention twice, and gives clipped windows the bias of the first tokens of a whole one.

    Example: (125, 343, 48), 3 heads -> q, k, v (125, 3, 343, 16) -> (125, 343, 48) once or twice.
    """

    index: Tensor

    def __init__(self, dim: int, num_heads: int, window: Triple, *, legacy: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window = window
        self.legacy = legacy
        self.scale = (dim // num_heads) ** -0.5
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(prod(2 * n - 1 for n in window), num_heads))
        trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer("index", relative_index(window), persistent=False)

    def forward(
        self, x: Tensor, window: Triple, mask: Tensor | None, memory: Memory | None
    ) -> tuple[Tensor, Tensor | None, Memory]:
        """Attend within windows `(b * num_windows, n, c)`; `mask` `(num_windows, n, n)` is added to the scores.

        Args:
            memory: keys and values of the encoder, (b * num_windows, heads, n, c / heads) each.

        Returns:
            self-attention and, with a memory, cross attention, each shaped like `x`; own keys and values.
        """
        q, k, v = rearrange(self.qkv(x), "b n (three h d) -> three b h n d", three=3, h=self.num_heads)
        bias, forbidden = self.bias(window), over_batch(mask, len(x))
        bias = (bias if forbidden is None else bias + forbidden).to(q.dtype)
        attended = self._attend(q, k, v, bias, self.scale)
        if memory is None:
            return attended, None, (k, v)
        scale = self.scale**2 if self.legacy else self.scale
        return attended, self._attend(q, *memory, bias, scale), (k, v)

    def bias(self, window: Triple) -> Tensor:
        """Look up the bias `(1, heads, n, n)` between the tokens of a window clipped to `window`."""
        n = prod(window)
        if self.legacy:
            index = self.index[:n, :n]
        else:
            d, h, w = window
            index = self.index.view(*self.window, *self.window)[:d, :h, :w, :d, :h, :w]
        table = self.relative_position_bias_table.index_select(0, index.flatten())
        return table.T.reshape(1, self.num_heads, n, n)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor, scale: float) -> Tensor:
        out = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=scale)
        return self.proj(out.transpose(1, 2).flatten(2))


class VTBlock(nn.Module):
    """Apply a block of VT-UNet: `x = A + F; MLP(LN(x)) + x`, with attention A.

    In the decoder, its query also attends to the encoder's keys and values (the memory):
    `out = (1 - alpha) SA + alpha CA + MLP(LN(PE))`, PE the encoded positions of the whole map. Windows are clipped
    to smaller maps. `legacy` is that of `VTAttention`, and also attends to padding.

    Example: F (1, 32, 16, 16, 96), window 7 -> windows (45, 343, 96) -> attention -> (1, 32, 16, 16, 96).
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        window: Triple,
        *,
        shifted: bool,
        mlp_ratio: float,
        drop_path: float,
        alpha: float,
        legacy: bool,
    ) -> None:
        super().__init__()
        self.window = window
        self.shift: Triple = (window[0] // 2, window[1] // 2, window[2] // 2) if shifted else (0, 0, 0)
        self.alpha = alpha
        self.legacy = legacy
        self.norm1 = nn.LayerNorm(dim)
        self.attn = VTAttention(dim, num_heads, window, legacy=legacy)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, f: Tensor, memory: Memory | None = None) -> tuple[Tensor, Memory]:
        """Map `(b, d, h, w, c)` to the same shape; also return the keys and values of its windows.

        In the decoder, `memory` comes from an encoder block of the same map size and shift.
        """
        size: Triple = (f.shape[1], f.shape[2], f.shape[3])
        window = effective_window(size, self.window)
        shift = effective_shift(size, window, self.shift)
        mask = attention_mask(padded_size(size, window) if self.legacy else size, window, shift, f.device)
        windows = partition(self.norm1(f), window, shift)
        own, cross, own_memory = self.attn(windows, window, mask, memory)
        out = self._close(f, reverse(own, size, window, shift))
        if cross is not None:
            crossed = self._close(f, reverse(cross, size, window, shift))
            encoded = self.mlp(self.norm2(position_encoding(size, f.shape[-1], f.device).to(f.dtype)))
            out = torch.lerp(out, crossed, self.alpha) + encoded
        return out, own_memory

    def _close(self, f: Tensor, attended: Tensor) -> Tensor:
        x: Tensor = f + self.drop_path(attended)
        return x + self.drop_path(self.mlp(self.norm2(x)))


Memories = dict[bool, Memory]


class VTStage(nn.Module):
    """Apply the blocks of a level, every second one shifted, then resample."""

    def __init__(
        self, blocks: list[VTBlock], *, downsample: nn.Module | None = None, upsample: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample
        self.upsample = upsample

    def forward(self, x: Tensor, memories: Memories | None = None) -> tuple[Tensor, Memories]:
        """Map `(b, d, h, w, c)` to the same shape, or that of the next level.

        Returns:
            the map; the memories of the last plain (False) and the last shifted (True) block.
        """
        made: Memories = {}
        for i, block in enumerate(self.blocks):
            shifted = i % 2 == 1
            x, made[shifted] = block(x, memories[shifted] if memories else None)
        for resample in (self.downsample, self.upsample):
            x = x if resample is None else resample(x)
        return x, made


class VTPatchEmbed(nn.Module):
    """Embed patches by a linear map and layer norm.

    Example: patch 4, x (1, 2, 128, 128, 128) -> (1, 32, 32, 32, 48).
    """

    def __init__(self, in_channels: int, dim: int, patch: Triple) -> None:
        super().__init__()
        self.patch = patch
        self.proj = nn.Conv3d(in_channels, dim, kernel_size=patch, stride=patch)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(b, c, D, H, W)`, padded with zeros at the far end to whole patches, to `(b, d, h, w, dim)`."""
        size: Triple = (x.shape[2], x.shape[3], x.shape[4])
        far = [p - n for n, p in zip(size, padded_size(size, self.patch), strict=True)]
        tokens = self.proj(nn.functional.pad(x, (0, far[2], 0, far[1], 0, far[0])))
        return self.norm(tokens.permute(0, 2, 3, 4, 1))


class PatchMerge(nn.Module):
    """Merge 2 x 2 neighbours of H and W: `(b, d, h, w, c)` to `(b, d, ceil(h / 2), ceil(w / 2), 2 c)`."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)
        self.norm = nn.LayerNorm(4 * dim)

    def forward(self, x: Tensor) -> Tensor:
        """Halve H and W; an odd axis gets a row of zeros at its far end."""
        x = nn.functional.pad(x, (0, 0, 0, x.shape[3] % 2, 0, x.shape[2] % 2))
        x = rearrange(x, "b d (h i) (w j) c -> b d h w (j i c)", i=2, j=2)
        return self.reduction(self.norm(x))
