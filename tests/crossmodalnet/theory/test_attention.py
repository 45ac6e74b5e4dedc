import math

import pytest
import torch

from crossmodalnet.networks.crossmodalnet.attention import CrossAttention
from crossmodalnet.theory import attention
from crossmodalnet.theory.findings import Verdict
from tests.crossmodalnet.theory.subjects import QUICK, make_subject, unit_attention, verdicts

DEPARTS, FAILS, HOLDS = Verdict.DEPARTS, Verdict.FAILS, Verdict.HOLDS


@pytest.mark.parametrize(
    ("options", "definition", "scaling"),
    [({}, HOLDS, FAILS), ({"values": "a"}, DEPARTS, FAILS), ({"similarity": "cosine"}, DEPARTS, HOLDS)],
)
def test_each_option_changes_its_own_verdicts(options, definition, scaling):
    outcome = attention.check(make_subject(**options), QUICK)
    expected = {"definition_2": definition, "theorem_2_1_1": HOLDS, "theorem_2_1_2": scaling}
    assert verdicts(outcome) == expected | {"theorem_2_1_3": HOLDS}
    rows = outcome.tables["attention_properties"]
    assert {(r["values"], r["similarity"], r["property"]) for r in rows if r["network"] == "random"} == {
        (v, s, p) for v in "ab" for s in ("dot", "cosine") for p in ("asymmetry", "scaling", "permutation")
    }
    cosine = [r["deviation"] for r in rows if r["similarity"] == "cosine" and r["property"] == "scaling"]
    assert max(cosine) <= 1e-5
    for number in (math.e / (1 + math.e), 2 * math.exp(4) / (1 + math.exp(4))):
        assert (f"{number:.3f}" in outcome.findings[2].counterexample) == (scaling is FAILS)


def test_equation_4_by_hand():
    f_a, f_b = torch.tensor([[[0.0], [1.0]]]), torch.tensor([[[2.0], [4.0]]])
    weights = [1 / (1 + math.exp(q)) for q in (2.0, 4.0)]  # of the first key, whose score is 0
    expected = [w * 2.0 + (1 - w) * 4.0 for w in weights]
    assert attention.equation_4(unit_attention(1), f_a, f_b)[0, :, 0].tolist() == pytest.approx(expected)


def test_a_place_dependent_attention_is_not_equivariant():
    class Placed(CrossAttention):
        def forward(self, f_a, f_b, mask=None):
            return super().forward(f_a, f_b, mask) + torch.arange(f_a.shape[1])[:, None]

    rows = attention.property_rows("trained", "x", Placed(4, 1), *torch.randn(2, 1, 8, 4), 0)
    deviation = next(row["deviation"] for row in rows if row["property"] == "permutation")
    assert attention.judge_permutation([deviation], 0.0).verdict is FAILS


def test_equal_features_make_cross_attention_symmetric():
    f = torch.randn(1, 8, 4)
    rows = attention.property_rows("trained", "x", CrossAttention(4, 1), f, f, 0)
    assert attention.judge_asymmetry([rows[0]["deviation"]]).verdict is FAILS
    assert attention.judge_asymmetry([0.5, 0.2]).verdict is HOLDS
