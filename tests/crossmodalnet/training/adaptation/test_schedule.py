import math

import pytest

from crossmodalnet.training.adaptation.adapter import ganin_ramp


@pytest.mark.parametrize("progress", [0.0, 0.1, 0.5, 1.0])
def test_is_a_hyperbolic_tangent(progress: float) -> None:
    assert ganin_ramp(progress) == pytest.approx(math.tanh(5 * progress), abs=1e-12)
    assert ganin_ramp(progress, gamma=2) == pytest.approx(math.tanh(progress), abs=1e-12)


def test_starts_at_zero_and_ends_almost_at_one() -> None:
    assert ganin_ramp(0) == 0
    assert ganin_ramp(1) == pytest.approx(0.9999, abs=1e-4)


@pytest.mark.parametrize("progress", [-0.1, 1.1, math.nan])
def test_range_is_checked(progress: float) -> None:
    with pytest.raises(ValueError, match="progress must be between 0 and 1"):
        ganin_ramp(progress)
