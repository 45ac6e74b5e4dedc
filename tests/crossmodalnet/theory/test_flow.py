from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from crossmodalnet.imaging.samples import LabelledCase
from crossmodalnet.theory.findings import Verdict
from crossmodalnet.theory.flow import KEYS, check, measure
from crossmodalnet.theory.information import knn_information
from crossmodalnet.theory.subject import AuditSubject
from crossmodalnet.theory.tokens import LayerTokens
from tests.crossmodalnet.theory.subjects import QUICK, make_subject

SETTINGS = replace(QUICK, num_cases=4, tokens_per_case=200)


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
    outcome = check(_subject(), SETTINGS)
    assert [finding.key for finding in outcome.findings] == list(KEYS)
    information, flow, entropy = (outcome.tables[name] for name in ("information", "flow", "entropy"))
    assert list(information[0]) == [
        "state", "pairs", "layer", "name", "estimator", "information", "low", "high",
    ]  # fmt: skip
    assert len(information) == 2 * 2 * 5 * 2
    assert list(flow[0]) == ["state", "layer", "name", "estimator", "cmif", "low", "high"]
    assert len(flow) == 2 * 4 * 2
    assert list(entropy[0]) == ["layer", "name", "information", "entropy_ct", "entropy_mr"]
    assert [row["name"] for row in entropy] == [
        "image", "embedding", "encoder 1", "encoder 2", "decoder 1",
    ]  # fmt: skip
    assert all(row["low"] <= row["information"] <= row["high"] for row in information)


def test_registered_images_share_more_and_flows_are_differences():
    outcome = check(_subject(), SETTINGS)
    assert outcome.findings[0].verdict is Verdict.HOLDS
    assert outcome.findings[3].verdict is Verdict.CONDITIONAL
    chosen = [
        row["information"]
        for row in outcome.tables["information"]
        if (row["state"], row["pairs"], row["estimator"]) == ("trained", "registered", "knn")
    ]
    flows = [
        row["cmif"]
        for row in outcome.tables["flow"]
        if (row["state"], row["estimator"]) == ("trained", "knn")
    ]
    np.testing.assert_allclose(flows, np.diff(np.array(chosen, dtype=float)))


def test_same_bits_again_and_no_global_random_numbers():
    state = torch.get_rng_state()
    first, second = check(_subject(), SETTINGS), check(_subject(), SETTINGS)
    assert first == second
    assert torch.equal(torch.get_rng_state(), state)


def test_a_single_case_decides_nothing():
    outcome = check(_subject(1), SETTINGS)
    verdicts = [finding.verdict for finding in outcome.findings]
    assert verdicts == [Verdict.UNDECIDED, Verdict.UNDECIDED, Verdict.UNDECIDED, Verdict.CONDITIONAL]
    assert {row["pairs"] for row in outcome.tables["information"]} == {"registered"}
    assert all(row["low"] == row["high"] == row["cmif"] for row in outcome.tables["flow"])


@pytest.mark.parametrize("options", [{"cross": False}, {"streams": "ct"}])
def test_not_applicable_without_cross_attention(options):
    outcome = check(_subject(**options), SETTINGS)
    assert {finding.verdict for finding in outcome.findings} == {Verdict.NOT_APPLICABLE}
    assert len(outcome.findings) == len(KEYS)


def test_not_applicable_to_other_networks():
    outcome = check(replace(_subject(), config=None), SETTINGS)
    assert {finding.verdict for finding in outcome.findings} == {Verdict.NOT_APPLICABLE}


def test_too_few_tokens_decide_nothing():
    outcome = check(_subject(1), replace(SETTINGS, components=16))
    assert {finding.verdict for finding in outcome.findings} == {Verdict.UNDECIDED}
    assert "64 tokens" in outcome.findings[0].why


def test_layers_are_compared_at_equal_numbers_of_tokens():
    rng = np.random.default_rng(0)
    ct = rng.standard_normal((2, 900, 3))
    mr = ct + rng.standard_normal(ct.shape)
    layers = [LayerTokens("fine", ct, mr), LayerTokens("coarse", ct[:, :90], mr[:, :90])]
    values = measure(layers, 4, "trained", "registered").by_estimator["knn"].pooled
    groups = [slice(first, first + 90) for first in range(0, 900, 90)]
    expected = np.mean([knn_information(ct[:, g].reshape(-1, 3), mr[:, g].reshape(-1, 3), 4) for g in groups])
    assert values[0] == pytest.approx(expected)


def test_measured_information_of_gaussian_tokens():
    rng = np.random.default_rng(0)
    ct = rng.standard_normal((5, 400, 1))
    layers = [
        LayerTokens("independent", ct, rng.standard_normal(ct.shape)),
        LayerTokens("noisy", ct, ct + rng.standard_normal(ct.shape)),
    ]
    found = measure(layers, 4, "trained", "registered").by_estimator
    for values in found.values():
        # Correlation sqrt(1 / 2): log(2) / 2 nats.
        assert values.pooled == pytest.approx([0, np.log(2) / 2], abs=0.05)
        assert values.interval[0][1] < np.log(2) / 2 < values.interval[1][1]
        assert values.change.above().all()
