"""Residual convolutions between voxels, tokens and levels (not in the paper)."""

import torch
from einops import rearrange
from torch import Tensor, nn

from crossmodalnet.networks.common.sizes import Triple

SLOPE = 0.01


class InstanceNorm(nn.InstanceNorm3d):
    """Apply `nn.InstanceNorm3d` with scale and shift, sample by sample as batch norm.

    `nn.InstanceNorm3d` itself would convert channels-last maps to another memory format and back.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each map of `(b, c, d, h, w)`, of more than one voxel."""
        samples = [
            nn.functional.batch_norm(
                sample, None, None, self.weight, self.bias, training=True, momentum=0.0, eps=self.eps
            )
            for sample in torch.split(x, 1)
        ]
        return samples[0] if len(samples) == 1 else torch.cat(samples)


class Conv3x3(nn.Conv3d):
    """Convolve with 3x3x3 kernels, zero padding and no bias, as fast for one sample as for each of two.

    On the CPU PyTorch's method for a batch of one with few channels is up to ten times slower
    (`docs/results/performance.md`). Without gradients, oneDNN is called directly.
    """

    def __init__(self, in_channels: int, channels: int, stride: Triple = (1, 1, 1)) -> None:
        super().__init__(in_channels, channels, 3, stride, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(b, in_channels, D, H, W)` to `(b, channels, D / stride, H / stride, W / stride)`, rounded up."""
        if self._takes_onednn(x):
            return torch.mkldnn_convolution(x, self.weight, None, (1, 1, 1), self.stride, (1, 1, 1), 1)
        return super().forward(x)

    def _takes_onednn(self, x: Tensor) -> bool:
        single = len(x) == 1 and x.device.type == "cpu" and x.dtype == self.weight.dtype == torch.float32
        if not single or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
            return False
        return bool(torch.backends.mkldnn.enabled) and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


class Conv1x1(nn.Conv3d):
    """Apply a 1x1x1 convolution as a matrix product.

    On the CPU `nn.Conv3d` takes four times as long for many voxels of few channels
    (`docs/results/performance.md`). It is fast in channels-last memory format.
    """

    def __init__(self, in_channels: int, channels: int, *, bias: bool = True) -> None:
        super().__init__(in_channels, channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(b, in_channels, D, H, W)` to `(b, channels, D, H, W)`."""
        return to_map(nn.functional.linear(to_tokens(x), self.weight.flatten(1), self.bias))


class ResidualConvBlock(nn.Module):
    """Apply two convolutions with instance norm and a shortcut (residual-encoder U-Net, Isensee et al. 2024).

    Where the shape changes, the shortcut is average pooling and a 1x1x1 convolution.

    Example: (1, 8, 40, 40, 40), stride 2, 16 channels -> (1, 16, 20, 20, 20).
    """

    def __init__(self, in_channels: int, channels: int, stride: Triple = (1, 1, 1)) -> None:
        super().__init__()
        self.conv1 = Conv3x3(in_channels, channels, stride)
        self.norm1 = InstanceNorm(channels)
        self.conv2 = Conv3x3(channels, channels)
        self.norm2 = InstanceNorm(channels)
        self.act = nn.LeakyReLU(SLOPE, inplace=True)
        same = in_channels == channels and stride == (1, 1, 1)
        self.pool = nn.AvgPool3d(stride) if stride != (1, 1, 1) else nn.Identity()
        self.project = None if same else Conv1x1(in_channels, channels, bias=False)
        self.project_norm = None if same else InstanceNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(b, in_channels, D, H, W)` to `(b, channels, D / stride, H / stride, W / stride)`."""
        branch = self.norm2(self.conv2(self.act(self.norm1(self.conv1(x)))))
        shortcut = self.pool(x)
        if self.project is not None and self.project_norm is not None:
            shortcut = self.project_norm(self.project(shortcut))
        return self.act(branch + shortcut)


class UpConvolution(nn.Module):
    """Upsample by `stride`, concatenate the skips and apply a residual block.

    Example: (1, 96, 10, 10, 10), stride 2, skip (1, 48, 20, 20, 20) -> (1, 48, 20, 20, 20).
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        skip_channels: int,  # of all skips together; 0 without any
        stride: Triple,
    ) -> None:
        super().__init__()
        self.expand = nn.ConvTranspose3d(in_channels, channels, stride, stride, bias=False)
        self.block = ResidualConvBlock(channels + skip_channels, channels)

    def forward(self, coarse: Tensor, *skips: Tensor) -> Tensor:
        """Map coarse `(b, in_channels, d, h, w)` and skips `(b, s, D, H, W)` to `(b, channels, D, H, W)`."""
        return self.block(torch.cat([self.expand(coarse), *skips], dim=1))


def to_tokens(x: Tensor) -> Tensor:
    """Turn a map `(b, c, d, h, w)` into tokens `(b, d, h, w, c)`."""
    return rearrange(x, "b c d h w -> b d h w c")


def to_map(tokens: Tensor) -> Tensor:
    """Turn tokens `(b, d, h, w, c)` into a map `(b, c, d, h, w)`."""
    return rearrange(tokens, "b d h w c -> b c d h w")
