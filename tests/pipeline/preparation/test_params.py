import pytest

from crossmodalnet.errors import UsageError
from pipeline.config.params import validate
from pipeline.config.sections import AdaptSection, PhantomConfig, TargetConfig


def test_off_unless_asked_for() -> None:
    params = AdaptSection()
    assert (params.enabled, params.scenario, params.target.source) == (False, "cohort", "phantom")


def test_the_target_phantom_is_another_scanner_and_other_people() -> None:
    phantom, source = TargetConfig().phantom, PhantomConfig()
    assert phantom.scanner == "other" != source.scanner
    assert phantom.seed != source.seed


def test_mmwhs_without_a_place_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"adapt\.target = .*source mmwhs needs a path or urls"):
        validate(AdaptSection, {"target": {"source": "mmwhs"}}, "adapt")


def test_a_target_is_laid_out_as_a_cohort_is() -> None:
    params = validate(AdaptSection, {"target": {"source": "mmwhs", "path": ["a.zip", "b"]}}, "adapt")
    data = params.target.as_data()
    assert (data.source, data.path, data.max_unpacked_gb) == ("mmwhs", ["a.zip", "b"], 60.0)
    assert TargetConfig().as_data().phantom == TargetConfig().phantom


def test_the_unlabelled_subjects_are_no_cohort_of_their_own() -> None:
    with pytest.raises(ValueError, match="must be phantom or mmwhs"):
        TargetConfig(source="unlabelled").as_data()
