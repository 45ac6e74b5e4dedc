"""What becomes of a network that needs more memory than there is, and of mirrored images."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from crossmodalnet.inference.segment import mirrorings, segment
from crossmodalnet.inference.segment import segment_within_memory
from crossmodalnet.networks.common.card import LoadedModel

IMAGE = torch.rand(2, 40, 36, 50, generator=torch.Generator().manual_seed(0))


class Hungry(nn.Module):
    """Says how bright a voxel is, and fits with so many voxels at once, as a GPU of so much memory would."""

    def __init__(self, fits: int, error: type[Exception] | None = torch.OutOfMemoryError) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.fits, self.error, self.seen = fits, error, []

    def forward(self, image: Tensor) -> Tensor:
        self.seen.append(tuple(image.shape[2:]))
        if image[0, 0].numel() > self.fits:
            raise self.error("CUDA out of memory. Tried to allocate 20 GiB; can't allocate memory")
        return torch.cat([(k + 1) * image[:, :1] for k in range(8)], dim=1)


def model(network: nn.Module, window: tuple[int, int, int] = (96, 64, 40)) -> LoadedModel:
    card: Any = SimpleNamespace(patch_size=window)
    return LoadedModel(network, card)


def test_what_fits_is_segmented_as_ever() -> None:
    network, told = Hungry(10**9), []
    found = segment_within_memory(model(network), IMAGE, 0.5, say=told.append)
    assert found.window == (96, 64, 40)
    assert told == []
    torch.testing.assert_close(found.probabilities, segment(model(network), IMAGE, 0.5), rtol=0, atol=0)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
def test_windows_are_halved_until_they_fit_and_it_is_said(error: type[Exception]) -> None:
    network, told = Hungry(32**3, error), []
    found = segment_within_memory(model(network), IMAGE, 0.5, say=told.append)
    assert found.window == (32, 32, 32)
    assert told == [
        "memory is short: windows of 48 x 32 x 32 voxels in place of 96 x 64 x 40",
        "memory is short: windows of 32 x 32 x 32 voxels in place of 48 x 32 x 32",
    ]
    assert network.seen[-1] == (32, 32, 32)
    # A voxel's answer is its own, so that smaller windows change nothing but their blending's rounding.
    expected = segment(model(Hungry(10**9)), IMAGE, 0.5)
    torch.testing.assert_close(found.probabilities, expected, rtol=0, atol=1e-5)


def test_a_network_that_never_fits_is_given_up() -> None:
    with pytest.raises(MemoryError, match="even with windows of 32 x 32 x 32 voxels"):
        segment_within_memory(model(Hungry(10)), IMAGE, 0.5)


def test_small_windows_stay_and_other_errors_are_not_hidden() -> None:
    network = Hungry(10)
    with pytest.raises(MemoryError, match="16 x 16 x 16"):
        segment_within_memory(model(network, (16, 16, 16)), IMAGE, 0.5)
    assert len(network.seen) == 1

    class Broken(Hungry):
        def forward(self, image: Tensor) -> Tensor:
            raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        segment_within_memory(model(Broken(1)), IMAGE, 0.5)


class Sided(nn.Module):
    """Is sure of class 1 in the first half of x, wherever it is shown, and of class 0 in the other."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, image: Tensor) -> Tensor:
        logits = torch.full((1, 8, *image.shape[2:]), -50.0)
        half = image.shape[2] // 2
        logits[:, 1, :half], logits[:, 0, half:] = 50, 50
        return logits


def test_mirrored_images_are_turned_back_and_averaged() -> None:
    plain = segment(model(Sided(), (40, 36, 50)), IMAGE, 0)
    along_z = segment(model(Sided(), (40, 36, 50)), IMAGE, 0, mirror="z")
    torch.testing.assert_close(along_z, plain)
    along_x = segment(model(Sided(), (40, 36, 50)), IMAGE, 0, mirror="x")
    torch.testing.assert_close(along_x[1], torch.full_like(along_x[1], 0.5))
    bright = segment(model(Hungry(10**9)), IMAGE, 0.5, mirror="xyz")
    torch.testing.assert_close(bright, segment(model(Hungry(10**9)), IMAGE, 0.5), rtol=0, atol=1e-5)


def test_mirrorings_are_all_sets_of_the_axes() -> None:
    assert len(mirrorings("xyz")) == 8
    for wrong in ("w", "xx", "X"):
        with pytest.raises(ValueError, match="mirror must be letters of xyz"):
            mirrorings(wrong)


class Tied(Hungry):
    """Takes inputs of one size, as a network with static offsets."""

    def check_size(self, size: tuple[int, ...]) -> None:
        if size != (96, 64, 40):
            raise ValueError("offsets: static ties the network to inputs of (96, 64, 40) voxels")


def test_a_network_that_takes_one_size_alone_has_no_smaller_window() -> None:
    network = Tied(fits=1000)
    with pytest.raises(MemoryError, match="windows of 96 x 64 x 40 voxels, the smallest that it takes"):
        segment_within_memory(model(network), IMAGE, 0.5)
    assert set(network.seen) == {(96, 64, 40)}
