import numpy as np
import pytest
import torch

from crossmodalnet.training.dataset import draw_region


def _draw(label, size, seed=0, share=0.0, context=1.0):
    random = np.random.RandomState(seed)
    return draw_region(label, size, foreground_share=share, context=context, random=random)


def test_regions_lie_inside_and_reach_every_corner():
    label = torch.zeros(9, 12, 7)
    starts = np.array([[s.start for s in _draw(label, (4, 5, 7), seed)] for seed in range(300)])
    assert starts.min(0).tolist() == [0, 0, 0]
    assert starts.max(0).tolist() == [5, 7, 0]


def test_foreground_regions_hold_the_structure():
    label = torch.zeros(20, 20, 20, dtype=torch.uint8)
    label[17, 2, 11] = 3
    for seed in range(20):
        assert label[_draw(label, (4, 5, 6), seed, share=1.0)].any()


def test_structures_are_drawn_equally_often_whatever_their_size():
    label = torch.zeros(8, 8, 60, dtype=torch.uint8)
    label[..., :20] = 1
    label[0, 0, 59] = 2
    hits = sum(bool((label[_draw(label, (8, 8, 8), seed, share=1.0)] == 2).any()) for seed in range(200))
    assert 70 < hits < 130


@pytest.mark.parametrize(
    ("length", "patch", "expected"), [(48, 48, 48), (60, 32, 40), (33, 32, 32), (35, 32, 34)]
)
def test_context_is_even_and_fits(length, patch, expected):
    region = _draw(torch.zeros(length, length, length), (patch,) * 3, context=1.25)
    assert [s.stop - s.start for s in region] == [expected] * 3
