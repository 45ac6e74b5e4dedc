"""nnFormer's layers on maps `(b, d, h, w, c)`, with the attribute names of the published weights."""

from collections.abc import Iterable

from einops import rearrange
from torch import Tensor, nn

from crossmodalnet.networks.common.sizes import Triple
from crossmodalnet.networks.common.swin import PreNormBlock


def channels_last(x: Tensor) -> Tensor:
    """Move channels to the end: `(b, c, d, h, w)` to `(b, d, h, w, c)`."""
    return rearrange(x, "b c d h w -> b d h w c")


def channels_first(x: Tensor) -> Tensor:
    """Move channels to the front: `(b, d, h, w, c)` to `(b, c, d, h, w)`."""
    return rearrange(x, "b d h w c -> b c d h w").contiguous()


class Projection(nn.Module):
    """Apply a strided and a plain convolution, each with GELU and LN; `last` drops these after the second."""

    def __init__(self, in_channels: int, channels: int, stride: Triple, *, last: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(in_channels, channels, 3, stride, padding=1)
        self.conv2 = nn.Conv3d(channels, channels, 3, padding=1)
        self.norm1 = nn.LayerNorm(channels)
        self.norm2 = None if last else nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(b, in_channels, D, H, W)` to `(b, channels, d, h, w)`."""
        x = self.norm1(channels_last(nn.functional.gelu(self.conv1(x))))
        x = self.conv2(channels_first(x))
        if self.norm2 is not None:
            x = channels_first(self.norm2(channels_last(nn.functional.gelu(x))))
        return x


class Embedding(nn.Module):
    """Embed voxels by convolutions; a token's size is the product of both strides.

    Example: strides (2, 2, 2), (1, 2, 2): x (1, 2, 64, 128, 128) -> (1, 96, 32, 64, 64) -> (1, 32, 32, 32, 192).
    """

    def __init__(self, in_channels: int, channels: int, strides: tuple[Triple, Triple]) -> None:
        super().__init__()
        self.proj1 = Projection(in_channels, channels // 2, strides[0], last=False)
        self.proj2 = Projection(channels // 2, channels, strides[1], last=True)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(b, in_channels, D, H, W)`, multiples of a token's voxels, to `(b, d, h, w, channels)`."""
        return self.norm(channels_last(self.proj2(self.proj1(x))))


class Downsample(nn.Module):
    """Apply GELU, LN and a strided convolution that doubles the channels.

    Strides 1 and 2 have kernels of 1 and 3 tokens. Even axes without padding get a zero, so that the kernel reaches
    their last token. ceil(n / 2) tokens remain with padding, floor(n / 2) without.
    """

    def __init__(self, dim: int, stride: Triple, padding: Triple) -> None:
        super().__init__()
        self.stride = stride
        self.padding = padding
        d, h, w = (3 if s > 1 else 1 for s in stride)
        self.reduction = nn.Conv3d(dim, 2 * dim, (d, h, w), stride, padding)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(b, d, h, w, dim)` to about half of it per strided axis, with `2 * dim` channels."""
        x = channels_first(self.norm(nn.functional.gelu(x)))
        extra = [
            max(3, n + 1 - n % 2) - n if s > 1 and not p else 0
            for n, s, p in zip(x.shape[2:], self.stride, self.padding, strict=True)
        ]
        if any(extra):
            x = nn.functional.pad(x, [e for far in reversed(extra) for e in (0, far)])
        return channels_last(self.reduction(x))


class Upsample(nn.Module):
    """Apply LN and a transposed convolution that halves the channels, to the size of a given map."""

    def __init__(self, dim: int, stride: Triple) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.up = nn.ConvTranspose3d(dim, dim // 2, stride, stride)

    def forward(self, x: Tensor, size: Triple) -> Tensor:
        """Map `(b, d, h, w, dim)` to `(b, *size, dim // 2)`, by cropping or by tokens that are the bias alone."""
        x = channels_first(self.norm(x))
        strides = self.up.stride
        least = [max(n, m * s) for n, m, s in zip(size, x.shape[2:], strides, strict=True)]
        d, h, w = size
        return channels_last(self.up(x, output_size=least))[:, :d, :h, :w]


class NNFormerHead(nn.Module):
    """Map tokens to logits of their voxels, by a transposed convolution."""

    def __init__(self, dim: int, num_classes: int, patch: Triple) -> None:
        super().__init__()
        self.up = nn.ConvTranspose3d(dim, num_classes, patch, patch)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(b, d, h, w, dim)` to `(b, num_classes, D, H, W)`."""
        return self.up(channels_first(x))


class EncoderStage(nn.Module):
    """Apply the blocks of one level; `downsample` (None at the deepest) leads to the next."""

    def __init__(self, blocks: Iterable[PreNormBlock], downsample: Downsample | None) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Map `(b, d, h, w, c)` to the same shape; the caller downsamples."""
        return self.blocks(x)


class DecoderStage(nn.Module):
    """Upsample to one level, attend to its skip connection, and apply blocks of self-attention."""

    def __init__(self, upsample: Upsample, blocks: Iterable[PreNormBlock]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.Upsample = upsample

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map a coarser map and the skip connection `(b, d, h, w, c)` to the shape of the latter."""
        x = self.Upsample(x, (skip.shape[1], skip.shape[2], skip.shape[3]))
        first, *others = self.blocks
        x = first(x, skip)
        for block in others:
            x = block(x)
        return x
