import pytest
import torch

from crossmodalnet.training.objectives import at_size, evaluate_objectives, level_weights


def test_each_level_weighs_half_of_the_finer_one():
    assert level_weights(1) == [1.0]
    assert level_weights(3) == pytest.approx([4 / 7, 2 / 7, 1 / 7])


@pytest.mark.parametrize(
    ("n", "m", "expected"), [(8, 4, [1, 3, 5, 7]), (8, 2, [2, 6]), (5, 3, [1, 3, 4]), (5, 2, [2, 4])]
)
def test_labels_are_taken_from_the_middle_of_a_coarse_voxel(n, m, expected):
    labels = torch.arange(n)[None, :, None, None].expand(2, n, 3, 3)
    found = at_size(labels, (m, 3, 3))
    assert found.shape == (2, m, 3, 3)
    assert found[1, :, 0, 2].tolist() == expected


def test_objectives_are_weighted_means_over_the_levels():
    torch.manual_seed(0)
    target = torch.randint(0, 3, (2, 4, 4, 4))
    fine, coarse = torch.randn(2, 3, 4, 4, 4), torch.randn(2, 3, 2, 2, 2)
    names = ("dice", "ce")
    alone = (
        evaluate_objectives(names, fine, target),
        evaluate_objectives(names, coarse, target[:, 1::2, 1::2, 1::2]),
    )
    torch.testing.assert_close(
        evaluate_objectives(names, [fine, coarse], target), (2 * alone[0] + alone[1]) / 3
    )
    torch.testing.assert_close(evaluate_objectives(names, [fine], target), alone[0])
