import math

import pytest
import torch

from crossmodalnet.training.adaptation.volumes import VolumePrior

EACH = ((1,), (2,))


def labels(*voxels):
    """One image of 1000 voxels with these numbers of voxels of the structures 1, 2, ..."""
    counts = torch.tensor([*voxels, 1000 - sum(voxels)])
    structures = torch.tensor([*range(1, len(voxels) + 1), 0])
    return structures.repeat_interleave(counts).reshape(1, 10, 10, 10)


def sure(label, num_classes=3):
    """Logits that are sure of a label."""
    return 40.0 * torch.nn.functional.one_hot(label, num_classes).movedim(-1, 1).float()


def exact():
    return VolumePrior(EACH, tolerance=0.0)


def test_equal_volumes_elsewhere_and_a_larger_heart_are_right():
    assert exact()(labels(200, 100), sure(labels(200, 100).flip(1))).item() == pytest.approx(0, abs=1e-10)
    assert exact()(labels(199, 99), sure(labels(399, 199))).item() == pytest.approx(0, abs=1e-10)


def test_by_hand():
    loss = exact()(labels(199, 99), sure(labels(299, 99)))  # shares with a voxel more: 2/3, 1/3 and 3/4, 1/4
    expected = (math.log(9 / 8) ** 2 + math.log(3 / 4) ** 2) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_within_the_tolerance_nothing_pulls():
    logits = sure(labels(299, 99)).requires_grad_()
    loss = VolumePrior(EACH, tolerance=0.3)(labels(199, 99), logits)
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()
    beyond = VolumePrior(EACH, tolerance=0.2)(labels(199, 99), sure(labels(299, 99)))
    assert beyond.item() == pytest.approx((math.log(4 / 3) - 0.2) ** 2 / 2, rel=1e-4)


def test_an_absent_structure_is_finite():
    logits = sure(labels(199, 0)).requires_grad_()
    loss = exact()(labels(199, 100), logits)
    loss.backward()
    assert loss.item() > 1
    assert logits.grad.isfinite().all()


def test_means_are_compared_not_images():
    prior = exact()
    small, large = sure(labels(100, 200)), sure(labels(200, 100))
    for _ in range(10):  # on average both structures are alike
        prior(labels(150, 150), large)
        loss = prior(labels(150, 150), small)
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert exact()(labels(150, 150), small).item() > 0.1


def test_descent_shrinks_what_is_too_large_by_its_unsure_voxels():
    logits = sure(labels(400, 100))
    logits[:, :, 3] *= 0.01  # voxels of structure 1 that are nearly undecided
    logits.requires_grad_()
    exact()(labels(200, 100), logits).backward()
    assert (logits.grad[:, 1, 3] > 0).all()
    assert logits.grad[:, 1, :3].abs().max() < 1e-6 * logits.grad[:, 1, 3].abs().max()


def test_old_images_are_forgotten():
    prior = exact()
    for _ in range(50):
        prior(labels(150, 150), sure(labels(100, 200)))
    for _ in range(200):
        loss = prior(labels(150, 150), sure(labels(150, 150)))
    assert loss.item() == pytest.approx(0, abs=1e-6)


def test_the_gradient_does_not_fade_with_the_mean():
    norms = []
    for batches in (1, 60):
        prior = exact()
        for _ in range(batches):
            logits = (0.1 * sure(labels(400, 100))).requires_grad_()
            loss = prior(labels(200, 100), logits)
        loss.backward()
        norms.append(logits.grad.norm().item())
    assert norms[1] == pytest.approx(norms[0], rel=1e-3)


def test_evaluation_leaves_the_means():
    prior = exact()
    prior(labels(150, 150), sure(labels(100, 200)))
    before = {name: tensor.clone() for name, tensor in prior.state_dict().items()}
    prior.eval()
    prior(labels(250, 50), sure(labels(50, 250)))
    torch.testing.assert_close(dict(prior.state_dict()), before, rtol=0, atol=0)


# LV, RV, LA, RA, Myo, AO, PA
HEART = (100, 90, 80, 70, 100, 30, 30)


@pytest.mark.parametrize(
    ("target", "right"),
    [
        ((120, 90, 60, 70, 100, 30, 30), True),  # the mitral plane elsewhere
        ((100, 60, 80, 100, 100, 30, 30), True),  # the tricuspid plane
        ((100, 90, 80, 70, 100, 90, 0), True),  # the box shows more of one vessel and none of the other
        ((100, 90, 80, 110, 100, 30, 30), False),  # RA runs out into the veins
        ((100, 90, 80, 70, 60, 30, 30), False),  # a thin wall
    ],
)
def test_of_the_heart_sides_and_wall_are_compared(target, right):
    prior = VolumePrior(tolerance=0.0)
    loss = prior(labels(*HEART), sure(labels(*target), 8)).item()
    assert loss == pytest.approx(0, abs=1e-10) if right else loss > 0.01
