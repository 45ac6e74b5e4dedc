from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from crossmodalnet.imaging.samples import LabelledCase
from crossmodalnet.theory.findings import Verdict
from crossmodalnet.theory.flow import (
    KEYS,
    check,
    judge_definition_7,
    judge_theorem_2_4,
    judge_theorem_2_7,
    measure,
    of_either,
)
from crossmodalnet.theory.information import JackknifeEstimate, knn_information
from crossmodalnet.theory.subject import AuditSubject
from tests.crossmodalnet.theory.subjects import QUICK, make_subject

CONFIG = QUICK.model_copy(update={"tokens_per_case": 200})
NAMES = ("image", "embedding", "encoder 1", "encoder 2")


def _case(number: int) -> LabelledCase:
    """A blob somewhere, bright in CT and dark in MR, with noise."""
    rng = np.random.default_rng(number)
    grid = np.stack(np.meshgrid(*[np.arange(16.0)] * 3, indexing="ij"))
    centre = rng.uniform(3, 13, (3, 1, 1, 1))
    blob = np.exp(-((grid - centre) ** 2).sum(0) / 18)
    image = np.stack([blob, 1 - blob]) * 0.8 + 0.1 + 0.03 * rng.standard_normal((2, 16, 16, 16))
    tensor = torch.as_tensor(image, dtype=torch.float32).clamp(0, 1)
    return LabelledCase(str(number), tensor, torch.zeros(16, 16, 16, dtype=torch.uint8))


def _subject(num_cases: int = 4, **options: Any) -> AuditSubject:
    return replace(make_subject(**options), test=[_case(n) for n in range(num_cases)])


def test_tables_and_findings():
    state = torch.get_rng_state()
    outcome = check(_subject(), CONFIG)
    assert outcome == check(_subject(), CONFIG)
    assert torch.equal(torch.get_rng_state(), state)
    assert [finding.key for finding in outcome.findings] == list(KEYS)
    assert outcome.findings[0].verdict is Verdict.HOLDS  # registered images share more than shuffled ones
    assert outcome.findings[3].verdict is Verdict.CONDITIONAL
    information, flow, entropy = (outcome.tables[name] for name in ("information", "flow", "entropy"))
    columns = ["state", "pairs", "layer", "name", "estimator", "information", "low", "high"]
    assert list(information[0]) == columns
    assert len(information) == 2 * 2 * 5 * 2
    assert all(row["low"] <= row["information"] <= row["high"] for row in information)
    assert list(flow[0]) == ["state", "layer", "name", "estimator", "cmif", "low", "high"]
    assert len(flow) == 2 * 4 * 2
    assert (flow[0]["layer"], flow[0]["name"]) == (1, "embedding")
    assert list(entropy[0]) == ["layer", "name", "information", "entropy_ct", "entropy_mr"]
    assert [row["name"] for row in entropy] == [*NAMES, "decoder 1"]
    levels = [
        row["information"]
        for row in information
        if (row["state"], row["pairs"], row["estimator"]) == ("trained", "registered", "knn")
    ]
    flows = [row["cmif"] for row in flow if (row["state"], row["estimator"]) == ("trained", "knn")]
    np.testing.assert_allclose(flows, np.diff(np.array(levels, dtype=float)))


def test_a_single_case_decides_nothing():
    outcome = check(_subject(1), CONFIG)
    verdicts = [finding.verdict for finding in outcome.findings]
    assert verdicts == [Verdict.UNDECIDED, Verdict.UNDECIDED, Verdict.UNDECIDED, Verdict.CONDITIONAL]
    assert {row["pairs"] for row in outcome.tables["information"]} == {"registered"}
    assert all(row["low"] == row["high"] == row["cmif"] for row in outcome.tables["flow"])


def test_too_few_tokens_decide_nothing():
    outcome = check(_subject(1), CONFIG.model_copy(update={"components": 16}))
    assert {finding.verdict for finding in outcome.findings} == {Verdict.UNDECIDED}
    assert "64 tokens" in outcome.findings[0].why


def test_layers_are_compared_at_equal_numbers_of_tokens():
    rng = np.random.default_rng(0)
    ct = rng.standard_normal((2, 900, 3))
    mr = ct + rng.standard_normal(ct.shape)
    values = measure({"fine": (ct, mr), "coarse": (ct[:, :90], mr[:, :90])})["knn"].pooled
    groups = [slice(first, first + 90) for first in range(0, 900, 90)]
    expected = np.mean([knn_information(ct[:, g].reshape(-1, 3), mr[:, g].reshape(-1, 3)) for g in groups])
    assert values[0] == pytest.approx(expected)


def test_measured_information_of_gaussian_tokens():
    rng = np.random.default_rng(0)
    ct = rng.standard_normal((5, 400, 1))
    layers = {
        "independent": (ct, rng.standard_normal(ct.shape)),
        "noisy": (ct, ct + rng.standard_normal(ct.shape)),
    }
    for values in measure(layers).values():
        # Correlation sqrt(1 / 2): log(2) / 2 nats.
        assert values.pooled == pytest.approx([0, np.log(2) / 2], abs=0.05)
        assert values.interval[0][1] < np.log(2) / 2 < values.interval[1][1]
        assert values.change.above().all()


def _series(*values: float, spread: float = 0.001) -> JackknifeEstimate:
    """Information at each layer, with intervals of about 5.6 times the spread either way."""
    signs = np.array([1, -1, 1, -1, 0])[:, None] * np.array([1, -1, 1, -1])[: len(values)]
    return JackknifeEstimate(np.array(values), np.array(values) + spread * signs)


def _both(first: JackknifeEstimate, second: JackknifeEstimate | None = None) -> dict[str, JackknifeEstimate]:
    return {"copula": first, "knn": first if second is None else second}


RISING = _series(0.1, 0.2, 0.4, 0.8)
FALLING = _series(0.5, 0.7, 0.3, 0.4)


def test_rising_information_satisfies_both_theorems():
    assert judge_theorem_2_4(_both(RISING), NAMES).verdict is Verdict.HOLDS
    assert judge_theorem_2_7(_both(RISING), NAMES).verdict is Verdict.HOLDS


def test_theorem_2_4_fails_if_both_estimators_find_the_same_loss():
    finding = judge_theorem_2_4(_both(FALLING, _series(0.6, 0.8, 0.5, 0.6)), NAMES)
    assert finding.verdict is Verdict.FAILS
    assert "from embedding to encoder 1" in finding.why
    assert "0.70 (copula) and 0.80 (knn)" in finding.counterexample
    assert "0.50 (copula) and 0.60 (knn), not 0" in finding.counterexample
    assert finding.numbers["smallest_cmif_copula"] == pytest.approx(-0.4)
    assert finding.numbers["layers_that_lose"] == 1


@pytest.mark.parametrize(
    "estimates",
    [
        _both(FALLING, RISING),  # by one estimator alone
        _both(FALLING, _series(0.5, 0.3, 0.4, 0.6)),  # at different layers
        _both(_series(0.5, 0.7, 0.3, 0.4, spread=0.2)),  # within the interval
        _both(JackknifeEstimate(FALLING.pooled, np.empty((0, 4)))),  # one case
    ],
)
def test_theorems_are_decided_only_with_agreement_and_confidence(estimates):
    assert judge_theorem_2_4(estimates, NAMES).verdict is Verdict.UNDECIDED
    assert judge_theorem_2_7(estimates, NAMES).verdict is not Verdict.HOLDS


def test_an_untrained_network_can_refute_a_theorem():
    rising, falling = (judge_theorem_2_4(_both(series), NAMES) for series in (RISING, FALLING))
    untrained = judge_theorem_2_4(_both(FALLING), NAMES, "untrained")
    assert of_either(falling, rising).why == falling.why
    finding = of_either(rising, untrained)
    assert finding.verdict is Verdict.FAILS
    assert finding.why.startswith("Before training.")
    assert "The untrained network" in finding.counterexample
    assert finding.numbers["layers_that_lose"] == 0  # of the trained one
    assert finding.numbers["layers_that_lose_before_training"] == 1
    assert of_either(rising, rising).verdict is Verdict.HOLDS


def test_theorem_2_7_fails_if_flow_grows_less_although_information_rises():
    slowing = _series(0.1, 0.5, 0.6, 0.9)
    assert judge_theorem_2_4(_both(slowing), NAMES).verdict is Verdict.HOLDS
    finding = judge_theorem_2_7(_both(slowing), NAMES)
    assert finding.verdict is Verdict.FAILS
    assert (finding.numbers["layers_that_lose"], finding.numbers["layers_that_add_less"]) == (0, 1)
    assert finding.numbers["smallest_growth_knn"] == pytest.approx(-0.3)
    assert "into embedding: 0.40" in finding.counterexample
    assert "into encoder 1: 0.10" in finding.counterexample


def test_theorem_2_7_fails_if_only_the_first_layer_loses():
    finding = judge_theorem_2_7(_both(_series(0.9, 0.2, 0.3, 0.5)), NAMES)
    assert finding.verdict is Verdict.FAILS
    assert (finding.numbers["layers_that_lose"], finding.numbers["layers_that_add_less"]) == (1, 0)
    assert "into embedding: -0.70" in finding.counterexample


def test_definition_7_holds_if_registered_pairs_share_more():
    finding = judge_definition_7(_both(FALLING), _both(_series(0.1, 0.7, 0.3, 0.4)), 0.01)
    assert finding.verdict is Verdict.HOLDS
    assert finding.numbers["flow_sum_deviation"] == pytest.approx(0, abs=1e-12)
    assert 0.35 < finding.numbers["excess_image_low_copula"] <= 0.4


@pytest.mark.parametrize(
    "shuffled",
    [
        _both(FALLING),
        _both(_series(0.1, 0.7, 0.3, 0.4), FALLING),  # by one estimator alone
        _both(_series(0.4, 0.7, 0.3, 0.4, spread=0.1)),  # within the interval
        None,
    ],
)
def test_definition_7_is_undecided_otherwise(shuffled):
    assert judge_definition_7(_both(FALLING), shuffled, 0.01).verdict is Verdict.UNDECIDED
