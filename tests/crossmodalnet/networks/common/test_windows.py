import itertools

import pytest
import torch

from crossmodalnet.networks.common import sizes
from crossmodalnet.networks.common.windows import attention_mask, partition, reverse

CPU = torch.device("cpu")


@pytest.mark.parametrize("size", [(8, 4, 4), (5, 7, 3), (1, 9, 4)])
@pytest.mark.parametrize("shift", [(0, 0, 0), (2, 1, 1)])
def test_reverse_undoes_partition(size, shift):
    x = torch.randn(2, *size, 3)
    windows = partition(x, (4, 2, 2), shift)
    assert windows.shape[1:] == (16, 3)
    assert torch.equal(reverse(windows, size, (4, 2, 2), shift), x)


def test_a_window_holds_neighbours():
    x = torch.arange(4 * 4 * 2).view(1, 4, 4, 2, 1).float()
    windows = partition(x, (2, 2, 2))
    assert windows.shape == (4, 8, 1)
    assert torch.equal(windows[1].flatten(), x[0, :2, 2:, :, 0].flatten())


def test_padding_is_zero():
    windows = partition(torch.ones(1, 3, 2, 2, 1), (2, 2, 2))
    assert windows.sum(dim=(1, 2)).tolist() == [8.0, 4.0]


def test_window_and_shift_shrink_with_the_map():
    assert sizes.effective_window((2, 9, 4), (4, 4, 4)) == (2, 4, 4)
    assert sizes.effective_shift((2, 9, 4), (4, 4, 4), (2, 2, 2)) == (0, 2, 0)


@pytest.mark.parametrize("size", [(4, 4, 4), (5, 6, 3)])
@pytest.mark.parametrize("shift", [(0, 0, 0), (1, 1, 1), (1, 0, 1)])
def test_mask_joins_tokens_of_one_piece(size, shift):
    window = (2, 2, 2)
    mask = attention_mask(size, window, shift, CPU)
    assert (mask is None) == (size == (4, 4, 4) and shift == (0, 0, 0))
    if mask is None:
        return
    # Each token carries its own position, 0 marks padding.
    position = torch.stack(torch.meshgrid(*(torch.arange(n) for n in size), indexing="ij"), dim=-1) + 1
    tokens = partition(position[None], window, shift) - 1
    for w, i, j in itertools.product(range(len(tokens)), range(8), range(8)):
        p, q = tokens[w, i].tolist(), tokens[w, j].tolist()
        real = p[0] >= 0 and q[0] >= 0
        together = all((x - s) // 2 == (y - s) // 2 for x, y, s in zip(p, q, shift, strict=True))
        assert (mask[w, i, j] == 0) == ((real and together) or i == j)


def test_mask_made_in_inference_serves_training():
    attention_mask.cache_clear()
    with torch.inference_mode():
        attention_mask((3, 3, 3), (2, 2, 2), (0, 0, 0), CPU)
    assert not attention_mask((3, 3, 3), (2, 2, 2), (0, 0, 0), CPU).is_inference()


@pytest.mark.parametrize(
    ("size", "window"),
    [((20, 10, 5), (5, 5, 5)), ((24, 12, 6), (6, 6, 6)), ((11, 13, 3), (6, 7, 3)), ((14, 28, 8), (7, 7, 4))],
)
def test_the_chosen_window_pads_least(size, window):
    assert sizes.dividing_window(size) == window


def test_padding_is_counted_in_tokens():
    assert sizes.padding_share((10, 10, 5), (4, 5, 4)) == pytest.approx(12 * 10 * 8 / 500 - 1)
    assert sizes.padding_share((3, 3, 3), (7, 7, 7)) == 0
