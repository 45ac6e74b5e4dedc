"""Padding to any input size, expansion of tokens, and gradient checkpointing."""

from functools import partial
from math import ceil

from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from crossmodalnet.networks.common.sizes import Triple

Outputs = Tensor | list[Tensor]


class PaddedNetwork(nn.Module):
    """Pad inputs with zeros at the far end to a multiple of `multiple` voxels per axis, and crop the outputs.

    An output of deep supervision with stride s keeps `ceil(n / s)` of n voxels per axis. `minimum` is the smallest
    input: instance norm needs two voxels at the coarsest level, since one has no variance.

    Example: multiple 32; x (1, 2, 40, 56, 48) -> padded (1, 2, 64, 64, 64) -> (1, 8, 40, 56, 48).
    """

    def __init__(self, network: nn.Module, multiple: Triple, minimum: Triple = (1, 1, 1)) -> None:
        super().__init__()
        self.network = network
        self.multiple = multiple
        self.minimum = minimum

    def forward(self, x: Tensor) -> Outputs:
        """Map `(b, c, d, h, w)` to logits `(b, classes, d, h, w)`, or a list of them."""
        size = tuple(x.shape[2:])
        padded = tuple(
            ceil(max(n, least) / m) * m for n, m, least in zip(size, self.multiple, self.minimum, strict=True)
        )
        far = [extra for n, p in zip(reversed(size), reversed(padded), strict=True) for extra in (0, p - n)]
        out = self.network(nn.functional.pad(x, far) if padded != size else x)
        if isinstance(out, list | tuple):
            return [_crop(o, size, padded) for o in out]
        return _crop(out, size, padded)


def _crop(out: Tensor, size: tuple[int, ...], padded: tuple[int, ...]) -> Tensor:
    d, h, w = (ceil(n * m / p) for n, p, m in zip(size, padded, out.shape[2:], strict=True))
    return out[:, :, :d, :h, :w]


def checkpoint_blocks(network: nn.Module, kinds: tuple[type[nn.Module], ...]) -> None:
    """Recompute activations of the blocks of these classes in the backward pass, also in copies of the network.

    The blocks do not nest. Parameter names and random numbers stay.
    """
    for module in network.modules():
        if isinstance(module, kinds):
            module.forward = partial(checkpoint, module.forward, use_reentrant=False)


class PatchExpanding(nn.Module):
    """Expand each token into a block of `stride` tokens of `out_dim` channels.

    Example: (1, 12, 12, 12, 48), stride 2, out_dim 24 -> (1, 12, 12, 12, 192) -> (1, 24, 24, 24, 24).
    """

    def __init__(self, dim: int, out_dim: int, stride: Triple = (2, 2, 2)) -> None:
        super().__init__()
        self.stride = stride
        self.expand = nn.Linear(dim, stride[0] * stride[1] * stride[2] * out_dim, bias=False)
        self.norm = nn.LayerNorm(out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(b, d, h, w, dim)` to `(b, d sd, h sh, w sw, out_dim)`."""
        i, j, k = self.stride
        blocks = rearrange(self.expand(x), "b d h w (i j k c) -> b (d i) (h j) (w k) c", i=i, j=j, k=k)
        return self.norm(blocks)
