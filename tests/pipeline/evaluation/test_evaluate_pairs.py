from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.evaluation.evaluate_cases import takes_both, trained_with_missing


@pytest.mark.parametrize(
    ("network", "both"), [({}, True), ({"streams": "both"}, True), ({"streams": "mr"}, False)]
)
def test_networks_of_one_stream_do_not_take_both(network: dict[str, Any], both: bool) -> None:
    assert takes_both(SimpleNamespace(network=network)) == both


@pytest.mark.parametrize(
    ("train", "knows"), [({}, False), ({"modality_dropout": 0.0}, False), ({"modality_dropout": 0.2}, True)]
)
def test_modality_dropout_is_read_from_the_card(train: dict[str, Any], knows: bool) -> None:
    assert trained_with_missing(SimpleNamespace(train=train)) == knows
