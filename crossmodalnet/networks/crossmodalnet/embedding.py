"""Patch embedding, merging, expanding and position encoding."""

from functools import lru_cache

import torch
from einops import rearrange
from torch import Tensor, nn

from crossmodalnet.networks.common.sizes import Triple
from crossmodalnet.networks.crossmodalnet.convolution import ResidualConvBlock, to_map, to_tokens


@lru_cache(maxsize=8)
def sincos_position(size: Triple, dim: int, device: torch.device) -> Tensor:
    """Encode absolute 3-D position by fixed sines and cosines along each axis: `(d, h, w, dim)` in [-1, 1].

    The slowest wave of an axis spans half a period over the map; each next one doubles the frequency. `dim` is a
    multiple of 6 (three axes, sine and cosine).
    """
    with torch.inference_mode(False):
        frequencies = torch.pi * 2.0 ** torch.arange(dim // 6, device=device)
        parts = []
        for axis, n in enumerate(size):
            angle = ((torch.arange(n, device=device) + 0.5) / n)[:, None] * frequencies
            shape = [1, 1, 1, dim // 3]
            shape[axis] = n
            parts.append(torch.cat([angle.sin(), angle.cos()], dim=-1).view(shape).expand(*size, -1))
        return torch.cat(parts, dim=-1)


class PatchEmbedding(nn.Module):
    """Embed blocks of `stride` voxels as tokens by one linear map.

    Example: (1, 1, 48, 48, 48), stride 2 -> (1, 24, 24, 24, 8) -> (1, 24, 24, 24, 24).
    """

    def __init__(self, in_channels: int, dim: int, stride: Triple, *, sincos: bool = False) -> None:
        super().__init__()
        self.stride = stride
        self.sincos = sincos
        self.proj = nn.Linear(in_channels * stride[0] * stride[1] * stride[2], dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map an image `(b, c, D, H, W)` to tokens `(b, D / stride, H / stride, W / stride, dim)`."""
        sd, sh, sw = self.stride
        blocks = rearrange(x, "b c (d sd) (h sh) (w sw) -> b d h w (c sd sh sw)", sd=sd, sh=sh, sw=sw)
        tokens: Tensor = self.norm(self.proj(blocks))
        return add_position(tokens) if self.sincos else tokens


class ConvEmbedding(nn.Module):
    """Embed blocks of `stride` voxels as tokens by a residual convolution block (not in the paper).

    Example: (1, 16, 20, 20, 20), stride 2, dim 48 -> (1, 10, 10, 10, 48).
    """

    def __init__(self, in_channels: int, dim: int, stride: Triple, *, sincos: bool = False) -> None:
        super().__init__()
        self.block = ResidualConvBlock(in_channels, dim, stride)
        self.sincos = sincos

    def forward(self, x: Tensor) -> Tensor:
        """Map a map `(b, c, D, H, W)` to tokens `(b, D / stride, H / stride, W / stride, dim)`."""
        tokens = to_tokens(self.block(x))
        return add_position(tokens) if self.sincos else tokens


def add_position(tokens: Tensor) -> Tensor:
    """Add `sincos_position` to tokens `(b, d, h, w, c)`."""
    size: Triple = (tokens.shape[1], tokens.shape[2], tokens.shape[3])
    return tokens + sincos_position(size, tokens.shape[4], tokens.device)


class PatchMerging(nn.Module):
    """Merge eight neighbouring tokens into one with twice the channels.

    Example: (1, 24, 24, 24, 24) -> (1, 12, 12, 12, 192) -> (1, 12, 12, 12, 48).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8 * dim)
        self.reduce = nn.Linear(8 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(b, d, h, w, c)` to `(b, d / 2, h / 2, w / 2, 2 c)`; the axes are even."""
        blocks = rearrange(x, "b (d i) (h j) (w k) c -> b d h w (i j k c)", i=2, j=2, k=2)
        return self.reduce(self.norm(blocks))


class ConvMerging(nn.Module):
    """Downsample by a residual convolution block of stride 2 (not in the paper).

    Example: (1, 10, 10, 10, 48) -> (1, 5, 5, 5, 96).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.block = ResidualConvBlock(dim, 2 * dim, (2, 2, 2))

    def forward(self, x: Tensor) -> Tensor:
        """Map `(b, d, h, w, c)` to `(b, d / 2, h / 2, w / 2, 2 c)`; the axes are even."""
        return to_tokens(self.block(to_map(x)))
