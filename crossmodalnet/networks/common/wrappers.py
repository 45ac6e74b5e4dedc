"""Wrappers around a network: inputs of any size, and gradient checkpointing."""

from functools import partial
from math import ceil

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from crossmodalnet.networks.common.sizes import Triple

Outputs = Tensor | list[Tensor]


class PaddedNetwork(nn.Module):
    """A network that takes inputs of any size.

    Zeros are added at the far end of each axis, and outputs are cropped to what the input covers: a coarser
    output of deep supervision, with stride s, keeps `ceil(n / s)` voxels of an axis with n.

    Example: multiple 32; x (1, 2, 40, 56, 48) -> padded (1, 2, 64, 64, 64) -> (1, 8, 40, 56, 48).

    Args:
        network: maps `(b, c, D, H, W)` to logits of that size, or to a list of them, finest first, whose
            sizes divide the input's.
        multiple: voxels per axis that the network's inputs are multiples of.
        minimum: smallest input it takes, voxels per axis. A network that normalises its coarsest map over
            space wants two voxels there, since one alone has no variance: twice the multiple on one axis.
    """

    def __init__(self, network: nn.Module, multiple: Triple, minimum: Triple = (1, 1, 1)) -> None:
        super().__init__()
        self.network = network
        self.multiple = multiple
        self.minimum = minimum

    def forward(self, x: Tensor) -> Outputs:
        """Map `(b, c, d, h, w)` to logits `(b, classes, d, h, w)`, or a list, as the network does."""
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
    """Make the blocks of a network recompute their activations in the backward pass.

    Names of parameters stay as they are, and copies of the network recompute too.

    Args:
        kinds: classes of the blocks. They draw no random numbers (the state of the generators is not kept),
            and none contains another.
    """
    for module in network.modules():
        if isinstance(module, kinds):
            recomputed = partial(checkpoint, module.forward, use_reentrant=False, preserve_rng_state=False)
            # An attribute of the instance comes before the method of its class.
            module.forward = recomputed
