from unittest.mock import Mock

import pytest
import torch
from torch import Tensor, nn

from crossmodalnet.inference.segment import segment, segment_within_memory
from crossmodalnet.networks.common.card import LoadedModel

OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")
IMAGE = torch.rand(2, 40, 36, 50, generator=torch.Generator().manual_seed(0))


class Brightness(nn.Module):
    """Logits that grow with the brightness of a voxel; fails with more than `limit` voxels."""

    def __init__(self, limit: int, error: Exception = OUT_OF_MEMORY) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.limit, self.error = limit, error
        self.inputs: list[tuple[int, ...]] = []

    def forward(self, image: Tensor) -> Tensor:
        self.inputs.append(tuple(image.shape[2:]))
        if image[0, 0].numel() > self.limit:
            raise self.error
        return torch.cat([(k + 1) * image[:, :1] for k in range(8)], dim=1)


class OneSize(Brightness):
    """Takes inputs of one size, as a network with static offsets."""

    def check_size(self, size: tuple[int, ...]) -> None:
        if size != (96, 64, 40):
            raise ValueError("offsets: static ties the network to inputs of (96, 64, 40) voxels")


class FirstHalf(Brightness):
    """Class 1 in the first half of x, whatever the image, and class 0 in the other."""

    def forward(self, image: Tensor) -> Tensor:
        logits = torch.full((1, 8, *image.shape[2:]), -50.0)
        half = image.shape[2] // 2
        logits[:, 1, :half], logits[:, 0, half:] = 50, 50
        return logits


def model(network: nn.Module, window: tuple[int, int, int] = (96, 64, 40)) -> LoadedModel:
    return LoadedModel(network, Mock(patch_size=window))


def test_a_window_that_fits_is_kept() -> None:
    network = model(Brightness(10**9))
    reports: list[str] = []
    probabilities, window = segment_within_memory(network, IMAGE, 0.5, report=reports.append)
    assert (window, reports) == ((96, 64, 40), [])
    torch.testing.assert_close(probabilities, segment(network, IMAGE, 0.5), rtol=0, atol=0)


@pytest.mark.parametrize("error", [OUT_OF_MEMORY, RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_windows_are_halved_until_one_fits(error: Exception) -> None:
    network = Brightness(32**3, error)
    reports: list[str] = []
    probabilities, window = segment_within_memory(model(network), IMAGE, 0.5, report=reports.append)
    assert window == network.inputs[-1] == (32, 32, 32)
    assert reports == [
        "memory is short: windows of 48 x 32 x 32 voxels instead of 96 x 64 x 40",
        "memory is short: windows of 32 x 32 x 32 voxels instead of 48 x 32 x 32",
    ]
    # The network is pointwise, so only the rounding of the blending differs.
    expected = segment(model(Brightness(10**9)), IMAGE, 0.5)
    torch.testing.assert_close(probabilities, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("network", "window", "smallest"),
    [
        (Brightness(10), (96, 64, 40), "32 x 32 x 32"),
        (Brightness(10), (16, 16, 16), "16 x 16 x 16"),
        (OneSize(1000), (96, 64, 40), "96 x 64 x 40"),
    ],
)
def test_the_smallest_window_that_does_not_fit_raises(
    network: Brightness, window: tuple[int, int, int], smallest: str
) -> None:
    with pytest.raises(MemoryError, match=f"even with windows of {smallest} voxels"):
        segment_within_memory(model(network, window), IMAGE, 0.5)


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="shapes differ"):
        segment_within_memory(model(Brightness(1, RuntimeError("shapes differ"))), IMAGE, 0.5)


def test_output_that_is_not_finite_raises() -> None:
    with pytest.raises(ValueError, match="not finite"):
        segment(model(Brightness(10**9)), IMAGE * torch.nan, 0.5)
