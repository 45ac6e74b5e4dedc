import pytest

from pipeline.registration.implausible import implausible
from pipeline.registration.params import RegisterParams

GOOD = {"negative_jacobian_share": 0.0, "inverse_error_mm": 0.1, "shared_view": 0.9}


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
    assert implausible({**GOOD, **changed}, RegisterParams()) == says


def test_several_are_all_said() -> None:
    said = implausible({**GOOD, "shared_view": 0.1, "inverse_error_mm": 2.0}, RegisterParams())
    assert said.count(";") == 1
