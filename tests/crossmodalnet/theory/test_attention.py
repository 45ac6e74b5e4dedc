import math

import pytest
import torch

from crossmodalnet.networks.crossmodalnet.attention import CrossAttention
from crossmodalnet.theory import attention
from crossmodalnet.theory.findings import Verdict
from tests.crossmodalnet.theory.subjects import QUICK, make_subject, verdicts


@pytest.mark.parametrize(
    ("options", "definition", "scaling"),
    [
        ({}, Verdict.HOLDS, Verdict.FAILS),
        ({"values": "a"}, Verdict.DEPARTS, Verdict.FAILS),
        ({"similarity": "cosine"}, Verdict.DEPARTS, Verdict.HOLDS),
    ],
)
def test_each_option_changes_its_own_verdicts(options, definition, scaling):
    outcome = attention.check(make_subject(**options), QUICK)
    assert verdicts(outcome) == {
        "definition_2": definition, "theorem_2_1_1": Verdict.HOLDS, "theorem_2_1_2": scaling,
        "theorem_2_1_3": Verdict.HOLDS,
    }  # fmt: skip
    rows = outcome.tables["attention_properties"]
    assert {(r["values"], r["similarity"], r["property"]) for r in rows if r["network"] == "random"} == {
        (v, s, p) for v in "ab" for s in ("dot", "cosine") for p in ("asymmetry", "scaling", "permutation")
    }
    cosine = [r["deviation"] for r in rows if r["similarity"] == "cosine" and r["property"] == "scaling"]
    assert max(cosine) <= 1e-5
    for number in (math.e / (1 + math.e), 2 * math.exp(4) / (1 + math.exp(4))):
        assert (f"{number:.3f}" in outcome.findings[2].counterexample) == (scaling is Verdict.FAILS)


def test_equation_4_by_hand():
    module = CrossAttention(1, 1)
    for projection in (module.query, module.key, module.value):
        torch.nn.init.ones_(projection.weight)
    f_a, f_b = torch.tensor([[[0.0], [1.0]]]), torch.tensor([[[2.0], [4.0]]])
    weights = [1 / (1 + math.exp(q)) for q in (2.0, 4.0)]  # of the first key, whose score is 0
    expected = [w * 2.0 + (1 - w) * 4.0 for w in weights]
    torch.testing.assert_close(attention.equation_4(module, f_a, f_b)[0, :, 0], torch.tensor(expected))


def test_a_place_dependent_attention_is_not_equivariant():
    class Placed(CrossAttention):
        def forward(self, f_a, f_b, mask=None):
            return super().forward(f_a, f_b, mask) + torch.arange(f_a.shape[1])[:, None]

    rows = attention.property_rows("trained", "x", Placed(4, 1), *torch.randn(2, 1, 8, 4), 0)
    deviation = next(row["deviation"] for row in rows if row["property"] == "permutation")
    assert attention.judge_permutation([deviation], 0.0).verdict is Verdict.FAILS


def test_equal_features_make_cross_attention_symmetric():
    f = torch.randn(1, 8, 4)
    rows = attention.property_rows("trained", "x", CrossAttention(4, 1), f, f, 0)
    assert attention.judge_asymmetry([rows[0]["deviation"]]).verdict is Verdict.FAILS
    assert attention.judge_asymmetry([0.5, 0.2]).verdict is Verdict.HOLDS
