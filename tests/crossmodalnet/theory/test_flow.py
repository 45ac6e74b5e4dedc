import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from crossmodalnet.imaging.samples import LabelledCase
from crossmodalnet.theory import flow
from crossmodalnet.theory.findings import Verdict
from crossmodalnet.theory.information import JackknifeEstimate, knn_information
from tests.crossmodalnet.theory.subjects import QUICK, make_subject

CONFIG = QUICK.model_copy(update={"tokens_per_case": 200})
NAMES = ("image", "embedding", "encoder 1", "encoder 2")


def _case(number):
    """A blob somewhere, bright in CT and dark in MR, with noise."""
    rng = np.random.default_rng(number)
    centre = rng.uniform(3, 13, (3, 1, 1, 1))
    blob = np.exp(-((np.indices((16, 16, 16)) - centre) ** 2).sum(0) / 18)
    image = np.stack([blob, 1 - blob]) * 0.8 + 0.1 + 0.03 * rng.standard_normal((2, 16, 16, 16))
    tensor = torch.as_tensor(image, dtype=torch.float32).clamp(0, 1)
    return LabelledCase(str(number), tensor, torch.zeros(16, 16, 16, dtype=torch.uint8))


def _subject(num_cases=4):
    return replace(make_subject(), test=[_case(n) for n in range(num_cases)])


def test_tables_and_findings():
    state = torch.get_rng_state()
    outcome = flow.check(_subject(), CONFIG)
    assert outcome == flow.check(_subject(), CONFIG)
    assert torch.equal(torch.get_rng_state(), state)
    assert [finding.key for finding in outcome.findings] == list(flow.KEYS)
    assert outcome.findings[0].verdict is Verdict.HOLDS  # registered images share more than shuffled ones
    assert outcome.findings[3].verdict is Verdict.CONDITIONAL
    tables = {name: pd.DataFrame(rows) for name, rows in outcome.tables.items()}
    information, flows = tables["information"], tables["flow"]
    assert list(information) == ["state", "pairs", "layer", "name", "estimator", "information", "low", "high"]
    assert len(information) == 2 * 2 * 5 * 2
    assert (information["low"] <= information["information"]).all()
    assert (information["information"] <= information["high"]).all()
    assert list(flows) == ["state", "layer", "name", "estimator", "cmif", "low", "high"]
    assert flows.loc[0, ["layer", "name"]].tolist() == [1, "embedding"]
    assert list(tables["entropy"]) == ["layer", "name", "information", "entropy_ct", "entropy_mr"]
    assert tables["entropy"]["name"].tolist() == [*NAMES, "decoder 1"]
    trained = information.query("state == 'trained' and pairs == 'registered' and estimator == 'knn'")
    changes = flows.query("state == 'trained' and estimator == 'knn'")["cmif"]
    np.testing.assert_allclose(changes, np.diff(trained["information"]))


def test_a_single_case_decides_nothing():
    outcome = flow.check(_subject(1), CONFIG)
    verdicts = [finding.verdict for finding in outcome.findings]
    assert verdicts == [*[Verdict.UNDECIDED] * 3, Verdict.CONDITIONAL]
    assert {row["pairs"] for row in outcome.tables["information"]} == {"registered"}
    assert all(row["low"] == row["high"] == row["cmif"] for row in outcome.tables["flow"])


def test_too_few_tokens_decide_nothing():
    outcome = flow.check(_subject(1), CONFIG.model_copy(update={"components": 16}))
    assert {finding.verdict for finding in outcome.findings} == {Verdict.UNDECIDED}


def test_layers_are_compared_at_equal_numbers_of_tokens():
    rng = np.random.default_rng(0)
    ct = rng.standard_normal((2, 900, 3))
    mr = ct + rng.standard_normal(ct.shape)
    values = flow.measure({"fine": (ct, mr), "coarse": (ct[:, :90], mr[:, :90])})["knn"].pooled
    groups = [slice(first, first + 90) for first in range(0, 900, 90)]
    expected = np.mean([knn_information(ct[:, g].reshape(-1, 3), mr[:, g].reshape(-1, 3)) for g in groups])
    assert values[0] == pytest.approx(expected)


def test_measured_information_of_gaussian_tokens():
    rng = np.random.default_rng(0)
    ct, noise, other = rng.standard_normal((3, 5, 400, 1))
    for values in flow.measure({"independent": (ct, other), "noisy": (ct, ct + noise)}).values():
        # Correlation sqrt(1 / 2): log(2) / 2 nats.
        assert values.pooled == pytest.approx([0, np.log(2) / 2], abs=0.05)
        assert values.interval[0][1] < np.log(2) / 2 < values.interval[1][1]
        assert values.change.above().all()


def _series(*values: float, spread: float = 0.001) -> JackknifeEstimate:
    """Information at each layer, with intervals of about 5.6 times the spread either way."""
    signs = np.array([1, -1, 1, -1, 0])[:, None] * np.array([1, -1, 1, -1])[: len(values)]
    return JackknifeEstimate(np.array(values), np.array(values) + spread * signs)


def _both(first, second=None):
    return {"copula": first, "knn": second or first}


RISING = _series(0.1, 0.2, 0.4, 0.8)
FALLING = _series(0.5, 0.7, 0.3, 0.4)


def test_rising_information_satisfies_both_theorems():
    assert flow.judge_theorem_2_4(_both(RISING), NAMES).verdict is Verdict.HOLDS
    assert flow.judge_theorem_2_7(_both(RISING), NAMES).verdict is Verdict.HOLDS


def test_theorem_2_4_fails_if_both_estimators_find_the_same_loss():
    finding = flow.judge_theorem_2_4(_both(FALLING, _series(0.6, 0.8, 0.5, 0.6)), NAMES)
    assert finding.verdict is Verdict.FAILS
    assert "from embedding to encoder 1: 0.70 (copula) and 0.80 (knn)" in finding.counterexample
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
    assert flow.judge_theorem_2_4(estimates, NAMES).verdict is Verdict.UNDECIDED
    assert flow.judge_theorem_2_7(estimates, NAMES).verdict is not Verdict.HOLDS


def test_an_untrained_network_can_refute_a_theorem():
    rising, falling = (flow.judge_theorem_2_4(_both(series), NAMES) for series in (RISING, FALLING))
    untrained = flow.judge_theorem_2_4(_both(FALLING), NAMES, "untrained")
    assert flow.of_either(falling, rising).why == falling.why
    finding = flow.of_either(rising, untrained)
    assert finding.verdict is Verdict.FAILS
    assert "The untrained network" in finding.counterexample
    assert finding.numbers["layers_that_lose"] == 0  # of the trained one
    assert finding.numbers["layers_that_lose_before_training"] == 1
    assert flow.of_either(rising, rising).verdict is Verdict.HOLDS


def test_theorem_2_7_fails_if_flow_grows_less_although_information_rises():
    slowing = _series(0.1, 0.5, 0.6, 0.9)
    assert flow.judge_theorem_2_4(_both(slowing), NAMES).verdict is Verdict.HOLDS
    finding = flow.judge_theorem_2_7(_both(slowing), NAMES)
    assert finding.verdict is Verdict.FAILS
    assert (finding.numbers["layers_that_lose"], finding.numbers["layers_that_add_less"]) == (0, 1)
    assert finding.numbers["smallest_growth_knn"] == pytest.approx(-0.3)
    assert re.search("into embedding: 0.40 .* into encoder 1: 0.10", finding.counterexample)


def test_theorem_2_7_fails_if_only_the_first_layer_loses():
    finding = flow.judge_theorem_2_7(_both(_series(0.9, 0.2, 0.3, 0.5)), NAMES)
    assert finding.verdict is Verdict.FAILS
    assert (finding.numbers["layers_that_lose"], finding.numbers["layers_that_add_less"]) == (1, 0)
    assert "into embedding: -0.70" in finding.counterexample


def test_definition_7_holds_if_registered_pairs_share_more():
    finding = flow.judge_definition_7(_both(FALLING), _both(_series(0.1, 0.7, 0.3, 0.4)), 0.01)
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
    assert flow.judge_definition_7(_both(FALLING), shuffled, 0.01).verdict is Verdict.UNDECIDED
