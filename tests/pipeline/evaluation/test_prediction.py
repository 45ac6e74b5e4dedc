import numpy as np
import pytest
from torch import nn

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.volume import Grid, Volume
from pipeline.config.sections import EvaluateConfig
from pipeline.evaluation.prediction import cleaned, predict_labels
from pipeline.preparation.cases import CroppedCase
from tests.pipeline.evaluation.conftest import bright_model

WORKING = Grid((20, 18, 16), np.array([[3.0, 0, 0, -30], [0, 3, 0, -27], [0, 0, 3, -24], [0, 0, 0, 1]]))
NATIVE = Grid((50, 40, 30), np.array([[-1.4, 0, 0, 35], [0, 0, 2.0, -30], [0, -1.7, 0, 34], [0, 0, 0, 1]]))


def case(ct: np.ndarray, native: Grid = NATIVE) -> CroppedCase:
    mr = np.random.default_rng(0).random(WORKING.shape, np.float32)
    label = np.zeros(WORKING.shape, np.uint8)
    volumes = (Volume(data, WORKING.affine) for data in (ct.astype(np.float32), mr, label))
    return CroppedCase("ct_1+mr_2", *volumes, native)


@pytest.fixture
def model():
    return bright_model(0, 16)


def ball(radius_mm: float, centre_mm: tuple[float, ...], grid: Grid) -> np.ndarray:
    points = grid.to_world(np.indices(grid.shape).reshape(3, -1)).T - centre_mm
    return (np.linalg.norm(points, axis=1) <= radius_mm).reshape(grid.shape)


@pytest.mark.parametrize("keep", [True, False])
def test_bright_balls_are_found_on_the_native_grid_and_only_the_largest_is_kept(model, keep: bool) -> None:
    large, small = ((9, (-5.0, 3.0, 2.0)), (4, (15.0, -15.0, -12.0)))
    ct = 100.0 * (ball(*large, WORKING) | ball(*small, WORKING))
    params = EvaluateConfig(keep_largest_component=keep)
    found = cleaned(predict_labels(model, case(ct), params), params)
    assert found.grid.same_as(NATIVE)
    assert set(np.unique(found.data)) == {0, 2}
    expected = ball(*large, NATIVE) if keep else ball(*large, NATIVE) | ball(*small, NATIVE)
    mask = found.data == 2
    assert 2 * (mask & expected).sum() / (mask.sum() + expected.sum()) > 0.9
    assert mask[ball(2.5, small[1], NATIVE)].all() != keep


def test_network_on_the_native_grid_needs_no_interpolation(model) -> None:
    ct = 100.0 * ball(9, (0.0, 0.0, 0.0), WORKING)
    found = predict_labels(model, case(ct, WORKING), EvaluateConfig())
    np.testing.assert_array_equal(found.data == 2, ct > 0)


def test_output_that_is_not_finite_is_an_error(model) -> None:
    model.network = nn.Conv3d(2, 8, 1)
    nn.init.constant_(model.network.bias, np.nan)
    with pytest.raises(DataError, match=r"ct_1\+mr_2: the network's output"):
        predict_labels(model, case(np.zeros(WORKING.shape)), EvaluateConfig())


def test_image_that_is_not_finite_is_an_error(model) -> None:
    with pytest.raises(DataError, match=r"ct_1\+mr_2: .*finite"):
        predict_labels(model, case(np.full(WORKING.shape, np.nan)), EvaluateConfig())
