"""Tensors cut or padded to a size about their middle."""

from torch import Tensor
from torch.nn import functional


def centre_crop(volume: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Cut the middle of the last three axes."""
    for axis, length in zip((-3, -2, -1), size, strict=True):
        volume = volume.narrow(axis, (volume.shape[axis] - length) // 2, length)
    return volume


def pad_to(volume: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Pad `(c, d, h, w)` to at least `size` by repeating the border, as inference does."""
    widths: list[int] = []
    for length, wanted in zip(reversed(volume.shape[-3:]), reversed(size), strict=True):
        missing = max(0, wanted - length)
        widths += [missing // 2, missing - missing // 2]
    return functional.pad(volume[None], widths, mode="replicate")[0] if any(widths) else volume
