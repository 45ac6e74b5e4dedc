import numpy as np
import pytest
import torch

from crossmodalnet.networks.crossmodalnet.blocks import SwinBlock
from crossmodalnet.networks.crossmodalnet.deformable import DeformableOperator
from crossmodalnet.theory import blocks
from crossmodalnet.theory.findings import Verdict
from tests.crossmodalnet.theory.subjects import QUICK, make_subject, verdicts

KEYS = ("definition_1", "definition_3", "theorem_2_2")


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({}, {}),
        ({"residual": "standard"}, {"definition_1": Verdict.DEPARTS}),
        ({"offsets": "predicted"}, {"theorem_2_2": Verdict.DEPARTS}),
        ({"deformable": False}, dict.fromkeys(KEYS[1:], Verdict.NOT_APPLICABLE)),
        ({"swin": False}, {"definition_1": Verdict.NOT_APPLICABLE}),
    ],
    ids=str,
)
def test_each_option_changes_its_own_verdicts(options, changed):
    expected = dict.fromkeys(KEYS, Verdict.HOLDS) | changed
    assert verdicts(blocks.check(make_subject(**options), QUICK)) == expected


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("size", [(8, 8, 8), (6, 5, 9), (3, 4, 7)])
def test_blocks_agree_with_equation_2_on_any_map(shifted, size):
    window = tuple(min(n, 4) for n in size)
    block = SwinBlock(6, 2, window, shifted=shifted)
    assert blocks.block_deviation(block, torch.randn(1, *size, 6), np.random.default_rng(0)) < 1e-12


def test_a_wrong_shift_is_detected():
    class Wrong(SwinBlock):
        def forward(self, f):
            return super().forward(f.roll(1, 1)).roll(-1, 1)

    block = Wrong(6, 2, (4, 4, 4), shifted=True)
    assert blocks.block_deviation(block, torch.randn(1, 8, 8, 8, 6), np.random.default_rng(0)) > 1e-3


@pytest.mark.parametrize("offsets", ["static", "predicted"])
def test_operators_agree_with_scipy(offsets):
    operator = DeformableOperator(5, (4, 5, 6), num_points=3, offsets=offsets)
    for parameter in operator.parameters():
        torch.nn.init.normal_(parameter)
    assert blocks.operator_deviation(operator, torch.randn(1, 4, 5, 6, 5), np.random.default_rng(0)) < 1e-5


def test_a_wrong_operator_fails():
    numbers = [(1e-2, 1.0, 2.0), (1e-6, 2.5, 2.0), (1e-6, 1.0, 2.0)]
    found = [blocks.judge_operator(*each).verdict for each in numbers]
    assert found == [Verdict.FAILS, Verdict.FAILS, Verdict.HOLDS]


def test_offsets_are_counted_as_theorem_2_2_asks():
    assert blocks.count_offsets(DeformableOperator(4, (2, 3, 4), num_points=5)) == (3 * 5 * 24, 360)
    assert blocks.judge_capacity([(360, 360), (12, 12)]).verdict is Verdict.HOLDS
    assert blocks.judge_capacity([(360, 360), (11, 12)]).verdict is Verdict.FAILS
