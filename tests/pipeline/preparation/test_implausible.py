from dataclasses import asdict

import pytest

from crossmodalnet.inference.quality_flags import registration_flags
from crossmodalnet.registration.quality import Quality
from pipeline.config.register import RegistrationConfig
from pipeline.preparation.registration import implausible

GOOD = {
    "mi_before": 0.1,
    "mi_after": 0.2,
    "largest_displacement_mm": 9.0,
    "negative_jacobian_share": 0.0,
    "inverse_error_mm": 0.1,
    "shared_view": 0.9,
}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({}, ""),
        ({"negative_jacobian_share": 0.002}, "0.20% of the voxels are folded (at most 0.10%)"),
        ({"inverse_error_mm": 1.5}, "the inverse misses by 1.50 mm (at most 1 mm)"),
        ({"shared_view": 0.25}, "the fields of view share 25% (at least 50%)"),
    ],
)
def test_what_is_beyond_a_threshold_is_said(changed: dict[str, float], says: str) -> None:
    assert implausible({**GOOD, **changed}, RegistrationConfig()) == says


def test_several_are_all_said() -> None:
    said = implausible({**GOOD, "shared_view": 0.1, "inverse_error_mm": 2.0}, RegistrationConfig())
    assert said.count(";") == 1


def test_a_new_patient_is_judged_as_the_pairs_of_a_cohort_by_default() -> None:
    quality = Quality(0.1, 0.2, 0.002, 3.0, 1.2, 0.4)
    said = "; ".join(flag.says.removeprefix("registration: ") for flag in registration_flags(quality))
    assert said == implausible(asdict(quality), RegistrationConfig())
