import math

import pytest
import torch

from crossmodalnet.training.adaptation.term import balanced_entropy, draw_balanced, self_information


def _seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_every_class_that_occurs_gives_its_share_without_replacement():
    classes = torch.tensor([0] * 90 + [2] * 3 + [1] * 10)[torch.randperm(103, generator=_seeded())]
    drawn = draw_balanced(classes, 5, 4, _seeded())
    assert torch.equal(classes[drawn], torch.tensor([0] * 5 + [1] * 5 + [2] * 3))
    assert len(drawn.unique()) == len(drawn)


def test_all_of_them_where_a_share_is_larger():
    classes = torch.tensor([3, 0, 3, 1])
    assert draw_balanced(classes, 9, 5, _seeded()).sort().values.tolist() == [0, 1, 2, 3]


def test_every_position_of_a_class_is_as_likely():
    classes = torch.tensor([0, 1] * 10)
    generator = _seeded()
    counts = torch.zeros(20)
    for _ in range(2000):
        counts[draw_balanced(classes, 3, 2, generator)] += 1
    # Binomial of 2000 draws with p = 0.3: mean 600, standard deviation 20.
    assert 520 < counts.min() <= counts.max() < 680


def test_same_seed_same_draw():
    classes = torch.randint(0, 8, (30000,), generator=_seeded())
    drawn = draw_balanced(classes, 32, 8, _seeded(1))
    assert torch.equal(drawn, draw_balanced(classes.short(), 32, 8, _seeded(1)))
    assert not torch.equal(drawn, draw_balanced(classes, 32, 8, _seeded(2)))


def test_nothing_to_draw_from():
    assert draw_balanced(torch.empty(0, dtype=torch.int64), 5, 8, _seeded()).shape == (0,)


def test_self_information_sums_to_the_entropy():
    p = torch.tensor([[0.7, 0.2, 0.1], [1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    expected = [-sum(x * math.log(x) for x in row if x > 0) / math.log(3) for row in p.tolist()]
    assert self_information(p).sum(1).tolist() == pytest.approx(expected, abs=1e-5)


def test_every_class_has_the_same_say_however_few_voxels_it_has():
    # 98 voxels sure of class 0, one in doubt predicted as 1, one sure of 2; class 3 nowhere
    p = torch.zeros(4, 100)
    p[0, :98] = 1
    p[:, 98] = torch.tensor([0.0, 0.5, 0.0, 0.5])
    p[2, 99] = 1
    doubt = math.log(2) / math.log(4)
    assert balanced_entropy(p.reshape(4, 10, 5, 2)) == pytest.approx((0 + doubt + 0 + 1) / 4, abs=1e-4)


def test_a_network_that_has_given_up_is_not_sure():
    p = torch.zeros(8, 2, 2, 2)
    p[0] = 1
    assert balanced_entropy(p) == pytest.approx(7 / 8, abs=1e-5)
