"""A cohort that does not delineate every structure: trained with a word about it, not adapted."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from crossmodalnet.errors import UsageError
from crossmodalnet.imaging.intensity import Intensity
from pipeline.training.cohort import read_cohort
from pipeline.training.params import read_params


@pytest.fixture
def intensity(target: Path, set_params: Callable[..., None]) -> Intensity:
    """The windows of a cohort, with a target domain, that lacks the aorta."""
    set_params()
    split = json.loads(Path("data/split.json").read_text("utf-8"))
    Path("data/split.json").write_text(json.dumps({**split, "missing": ["AO"]}))
    return read_params("crossmodalnet").intensity


def test_a_structure_that_is_not_delineated_is_told(
    intensity: Intensity, caplog: pytest.LogCaptureFixture
) -> None:
    assert len(read_cohort(intensity).training) == 3
    assert "AO: not delineated in this cohort, learnt as background and not scored" in caplog.text


def test_an_adaptation_needs_every_structure(intensity: Intensity) -> None:
    with pytest.raises(UsageError, match=r"does not delineate AO: the adaptation aligns every structure"):
        read_cohort(intensity, adapts=True)
