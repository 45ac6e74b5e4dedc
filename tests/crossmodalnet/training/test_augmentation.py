import numpy as np
import pytest
import torch

from crossmodalnet.imaging.samples import Misregistration, apply_misregistration, centre_crop
from crossmodalnet.training.augmentation import Augmenter, free_form_shifts
from crossmodalnet.training.config import AugmentationConfig

NOTHING = AugmentationConfig(
    affine_probability=0.0, rotation_degrees=20.0, elastic_probability=0.0, elastic_spacing_voxels=6.0,
    elastic_voxels=2.0, intensity_probability=0.0,
    misregistration_probability=1.0,  # drawn by the training set, of no effect here
)  # fmt: skip
SIZE = (16, 18, 14)
STILL = {"rotation_degrees": 0.0, "scale": 0.0}


def _sample():
    """A ball of value 1 and class 3, off centre, in both channels."""
    i, j, k = np.meshgrid(*[np.arange(n) for n in SIZE], indexing="ij")
    ball = torch.from_numpy(((i - 7) ** 2 + (j - 10) ** 2 + (k - 6) ** 2) < 20)
    return ball.float().expand(2, *SIZE).clone(), (3 * ball).to(torch.uint8)


def _augment(seed=0, size=SIZE, displacement=None, **changes):
    augmenter = Augmenter(NOTHING.model_copy(update=changes))
    return augmenter(*_sample(), size, np.random.RandomState(seed), displacement)


@pytest.mark.parametrize("change", ["affine_probability", "elastic_probability"])
def test_geometry_moves_images_and_label_alike(change):
    image, label = _augment(**{change: 1.0})
    assert not torch.equal(label, _sample()[1])
    assert set(label.unique().tolist()) == {0, 3}
    # Linear and nearest interpolation of the same ball agree but for its surface.
    assert ((image[0] > 0.5) != (label == 3)).sum() < 0.2 * (label == 3).sum()
    assert torch.equal(image[0], image[1])


def test_shift_is_bounded():
    image, label = _augment(affine_probability=1.0, shift_voxels=2.0, **STILL)
    before, after = (torch.nonzero(volume).float().mean(0) for volume in (_sample()[1], label))
    assert 0.3 < (after - before).abs().max() <= 2.5
    assert image.sum().item() == pytest.approx(_sample()[0].sum().item(), rel=0.02)


def test_intensity_changes_modalities_apart_and_never_the_label():
    image, label = _augment(intensity_probability=1.0)
    assert torch.equal(label, _sample()[1])
    assert not torch.equal(image[0], image[1])
    assert not torch.equal(image[0], _sample()[0][0])


def test_draw_depends_on_the_seed_only():
    changes = {"affine_probability": 1.0, "elastic_probability": 1.0, "intensity_probability": 0.5}
    augmenter = Augmenter(NOTHING.model_copy(update=changes))
    augmenter(*_sample(), SIZE, np.random.RandomState(7))
    used, _ = augmenter(*_sample(), SIZE, np.random.RandomState(1))
    assert torch.equal(used, _augment(1, **changes)[0])
    assert not torch.equal(used, _augment(2, **changes)[0])


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_the_centre_is_cut(probability):
    image, label = _augment(size=(8, 10, 6), affine_probability=probability, shift_voxels=0.0, **STILL)
    assert torch.equal(label, _sample()[1][4:12, 4:14, 4:10])
    torch.testing.assert_close(image, _sample()[0][:, 4:12, 4:14, 4:10])
    assert torch.equal(centre_crop(_sample()[1], (8, 10, 6)), label)


def test_misregistration_moves_the_mr_only():
    displacement = Misregistration((1.5, -0.5, 0.25), (0.0, 6.0, -8.0))
    image, label = _augment(size=(8, 10, 6), displacement=displacement)
    before, label_before = (centre_crop(volume, (8, 10, 6)) for volume in _sample())
    assert torch.equal(label, label_before)
    assert torch.equal(image[0], before[0])
    expected = centre_crop(apply_misregistration(_sample()[0][1:], displacement), (8, 10, 6))
    torch.testing.assert_close(image[1:], expected, atol=1e-5, rtol=0)
    assert (image[1] - before[1]).abs().max() > 0.5


@pytest.mark.parametrize("change", ["affine_probability", "elastic_probability"])
def test_misregistration_and_geometry_are_one_interpolation(change):
    i, j, k = np.meshgrid(*[np.arange(20)] * 3, indexing="ij")
    image = torch.from_numpy(0.5 + 0.5 * np.sin(i / 4) * np.cos(j / 5 + k / 6)).float().expand(2, 20, 20, 20)
    label, displacement = ((image[0] > 0.5).to(torch.uint8), Misregistration((1.5, -0.5, 0.25), (4.0, 0.0, -8.0)))
    augmenter = Augmenter(NOTHING.model_copy(update={change: 1.0}))

    def augment(image, displacement=None):
        return augmenter(image, label, (10, 10, 10), np.random.RandomState(0), displacement)

    (moved, seen), (whole, plain) = augment(image, displacement), augment(image)
    assert torch.equal(seen, plain)
    assert torch.equal(moved[0], whole[0])
    twice, _ = augment(apply_misregistration(image, displacement))
    assert (moved[1] - twice[1]).abs().max() < 0.02 < 0.2 < (moved[1] - whole[1]).abs().max()


def test_free_form_shifts_are_bounded_and_smooth():
    shifts = free_form_shifts((20, 25, 30), 8.0, 3.0, np.random.RandomState(0))
    assert shifts.shape == (3, 20, 25, 30)
    assert 0.3 < np.abs(shifts).max() <= 3
    # The slope of a cubic B-spline is at most the difference of neighbouring points over their spacing.
    assert max(np.abs(np.diff(shifts, axis=axis)).max() for axis in (1, 2, 3)) <= 6 / 8


def test_equal_control_points_shift_everything_alike():
    class Constant(np.random.RandomState):
        def uniform(self, low, high, size):
            return np.full(size, high)

    np.testing.assert_allclose(free_form_shifts((5, 6, 7), 2.5, 1.5, Constant()), 1.5, rtol=1e-6)
