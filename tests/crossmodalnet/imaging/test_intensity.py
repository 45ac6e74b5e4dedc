import numpy as np
import pytest

from crossmodalnet.imaging.intensity import Intensity, stack_input
from crossmodalnet.imaging.volume import Volume

INTENSITY = Intensity((-100.0, 300.0), (0.0, 100.0))


def _volume(values, spacing=1.0):
    return Volume(np.array(values, np.float32).reshape(1, 1, -1), np.diag([spacing, spacing, spacing, 1]))


def test_ct_window_and_mr_range():
    image = stack_input(_volume([-1000, -100, 100, 900]), _volume([20, 40, 60, 30]), INTENSITY)
    assert image.dtype == np.float32
    np.testing.assert_allclose(image[0].ravel(), [0, 0, 0.5, 1])
    np.testing.assert_allclose(image[1].ravel(), [0, 0.5, 1, 0.25])


def test_single_image_fills_both_channels():
    ct = stack_input(_volume([-1000, -100, 100, 900]), None, INTENSITY)
    np.testing.assert_allclose(ct.reshape(2, -1), [[0, 0, 0.5, 1]] * 2)
    mr = stack_input(None, _volume([20, 40, 60, 30]), INTENSITY)
    np.testing.assert_allclose(mr.reshape(2, -1), [[0, 0.5, 1, 0.25]] * 2)


def test_no_image_is_an_error():
    with pytest.raises(ValueError, match="ct or mr must be an image"):
        stack_input(None, None, INTENSITY)


def test_zeros_of_mr_lie_outside_the_field_of_view():
    image = stack_input(_volume([0, 0, 0, 0]), _volume([0, 0, 100, 200]), INTENSITY)
    np.testing.assert_allclose(image[1].ravel(), [0, 0, 0, 1])


def test_mr_percentiles_clip_outliers():
    assert Intensity((0.0, 1.0), (10.0, 90.0)).mr_range(np.arange(1, 102)) == pytest.approx((11, 91))


@pytest.mark.parametrize(
    ("ct", "mr", "spacing", "message"),
    [
        ([0, 1], [0, 0], 1.0, "no contrast"),
        ([0, 1], [7, 7], 1.0, "no contrast"),
        ([0, np.nan], [1, 2], 1.0, "finite"),
        ([0, 1], [1, 2, 3], 1.0, "one grid"),
        ([0, 1], [1, 2], 2.0, "one grid"),
    ],
)
def test_invalid_volumes_are_refused(ct, mr, spacing, message):
    with pytest.raises(ValueError, match=message):
        stack_input(_volume(ct), _volume(mr, spacing), INTENSITY)


@pytest.mark.parametrize(("window", "percentiles"), [((1.0, 1.0), (0.0, 100.0)), ((0.0, 1.0), (50.0, 101.0))])
def test_invalid_ranges_are_refused(window, percentiles):
    with pytest.raises(ValueError, match="must ascend"):
        Intensity(window, percentiles)
