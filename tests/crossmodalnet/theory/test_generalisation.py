import math
from itertools import product

import pytest
import torch

from crossmodalnet.theory import generalisation
from crossmodalnet.theory.findings import Verdict
from tests.crossmodalnet.theory.subjects import QUICK, make_subject


def test_estimate_agrees_with_the_sum_over_all_signs():
    features = torch.tensor([[[1.0, 0.0], [2.0, 1.0]], [[0.0, 3.0], [1.0, 1.0]]])
    flat = features.flatten(0, 1)
    exact = sum(float((torch.tensor(s) @ flat).norm()) for s in product((-1.0, 1.0), repeat=4)) / 16
    mean, error, largest = generalisation.estimate(features, 1, 4000, torch.Generator().manual_seed(0))
    assert mean == pytest.approx(exact, abs=5 * error)
    assert largest == pytest.approx(math.sqrt(1 + 5 + 9 + 2))
    assert largest / math.sqrt(2) <= exact <= largest


def test_bound_by_hand():
    assert generalisation.gap_bound(0.1, 50) == pytest.approx(0.2 + 3 * math.sqrt(math.log(40) / 100))
    assert generalisation.class_complexity(2.0, 30.0, 5, 9) == pytest.approx(2 * 2.0 * 30.0 / (5 * 3))


def test_margins_by_hand():
    # one case, three voxels; two classes whose logits are the two features
    features, labels = torch.tensor([[[2.0, 0.0], [0.5, 0.0], [0.0, 1.0]]]), torch.tensor([[0, 0, 0]])
    assert generalisation.margins(features, labels, torch.eye(2)).tolist() == [[2.0, 0.5, -1.0]]


@pytest.mark.parametrize("stem", ["linear", "conv"])
def test_the_last_layer_is_the_one_that_gives_the_logits(stem):
    subject = make_subject(stem=stem, transitions="conv", deep_supervision=True)
    features, _ = generalisation.take_sample(subject.network, subject, subject.test[:1], seed=0)
    layer = subject.network.head.classify
    weights = torch.cat([layer.weight.flatten(1), layer.bias[:, None]], dim=1)
    logits = features[0] @ weights.T
    places = torch.randperm(16**3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = subject.network(subject.images(subject.test[:1]))[0].flatten(1).T[places]
    torch.testing.assert_close(logits, expected)


def test_a_network_is_measured():
    outcome = generalisation.check(make_subject(), QUICK)
    finding = outcome.findings[0]
    assert finding.verdict is Verdict.HOLDS
    assert finding.numbers == generalisation.check(make_subject(), QUICK).findings[0].numbers
    assert [row["term"] for row in outcome.tables["generalisation"]] == ["complexity", "bound", "gap"]


@pytest.mark.parametrize(
    ("signed_sum", "bound", "verdict"),
    [(0.9, 0.4, Verdict.HOLDS), (1.5, 2.0, Verdict.FAILS), (0.5, 2.0, Verdict.FAILS)],
)
def test_the_estimate_must_lie_between_its_bounds(signed_sum, bound, verdict):
    numbers = {"complexity": 0.01, "bound": bound, "measured_gap": 0.1}
    finding = generalisation.judge(numbers, signed_sum, 0.01, 1.0, 1000)
    assert finding.verdict is verdict
    assert ("says something" in finding.why) == (bound < 1)
