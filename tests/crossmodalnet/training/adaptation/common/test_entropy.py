import math

import pytest
import torch

from crossmodalnet.training.adaptation.term import balanced_entropy, self_information


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
