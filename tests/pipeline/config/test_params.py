import pytest

from crossmodalnet.errors import UsageError
from pipeline.config.params import validate
from pipeline.config.sections import AdaptationConfig


def test_the_target_is_left_to_the_stage_that_prepares_it() -> None:
    params = validate(AdaptationConfig, {"target": {"source": "no such"}, "every": 3}, "adapt")
    assert params.every == 3


def test_other_unknown_keys_are_refused() -> None:
    with pytest.raises(UsageError, match=r"adapt\.targets: unknown key"):
        validate(AdaptationConfig, {"targets": {}}, "adapt")
