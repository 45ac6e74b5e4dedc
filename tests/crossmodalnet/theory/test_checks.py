"""Every statement gets a verdict of every network that the options can make."""

from typing import Any

import pytest

from crossmodalnet.theory.checks import CHECKS
from crossmodalnet.theory.statements import STATEMENTS
from tests.crossmodalnet.theory.subjects import QUICK, make_subject


@pytest.mark.parametrize("group", CHECKS)
@pytest.mark.parametrize(
    "options",
    [
        {"swin": False},
        {"cross": False},
        {"swin": False, "cross": False},
        {"deformable": False},
        {"streams": "ct"},
        {"streams": "mr", "swin": False},
        {
            "stem": "linear",
            "residual": "standard",
            "values": "a",
            "similarity": "cosine",
            "refines": "queries",
        },
        {"offsets": "predicted", "missing_token": True, "transitions": "conv"},
        {"depths": (1,), "heads": (1,), "cross_window": (None,), "num_points": (2,), "stem": "linear"},
    ],
    ids=lambda options: " ".join(f"{key}={value}" for key, value in options.items()),
)
def test_each_statement_has_a_verdict_of_each_network(options: dict[str, Any], group: str) -> None:
    outcome = CHECKS[group](make_subject(size=8, **options), QUICK)
    expected = {key for key, statement in STATEMENTS.items() if statement.group == group}
    assert {finding.key for finding in outcome.findings} == expected
    assert all(finding.why for finding in outcome.findings)
