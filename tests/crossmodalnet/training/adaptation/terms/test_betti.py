import numpy as np
import pytest
import torch
from torch.nn import functional

from crossmodalnet.imaging.structures import ABBREVIATIONS, STRUCTURES, Modality
from crossmodalnet.metrics.topology import betti_numbers
from crossmodalnet.phantom.generate import make_subject
from crossmodalnet.training.adaptation.betti import STRUCTURE_PRIORS, betti_loss

GRID = np.indices((20, 18, 16)).astype(float)
PRIORS = ((0, 0, 0), (1, 0, 0), (2, 0, 0), (1, 1, 0), (1, 0, 1), (1, 2, 1))


def ball(radius: float, centre: tuple[float, float, float] = (9, 9, 8)) -> np.ndarray:
    return np.linalg.norm(GRID - np.reshape(centre, (3, 1, 1, 1)), axis=0) <= radius


def torus(axis: int) -> np.ndarray:
    offset = GRID - np.reshape((9, 9, 8), (3, 1, 1, 1))
    return np.hypot(np.linalg.norm(np.delete(offset, axis, 0), axis=0) - 5, offset[axis]) <= 1.8


SHAPES = {
    "ball": ball(6),
    "shell": ball(6) & ~ball(3.5),
    "torus": torus(0),
    "torus around another axis": torus(2),
    "two balls": ball(3, (4, 4, 4)) | ball(3, (14, 13, 11)),
    "nothing": np.zeros_like(ball(1)),
    "ball in the corner": ball(6, (0, 17, 15)),
}


def crisp(*masks: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(np.stack(masks), dtype=torch.float32)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("prior", PRIORS)
def test_crisp_maps_count_what_is_wrong_as_betti_numbers_do(name: str, prior: tuple[int, int, int]) -> None:
    found = betti_numbers(SHAPES[name])
    expected = sum(abs(a - b) for a, b in zip(found, prior, strict=True))
    assert betti_loss(crisp(SHAPES[name]), [prior]).item() == expected


@pytest.mark.parametrize(("name", "right"), [("ball", 1), ("shell", 4), ("torus", 3), ("two balls", 2)])
def test_soft_maps_are_near_zero_for_the_right_prior_alone(name: str, right: int) -> None:
    noise = torch.rand(1, 20, 18, 16, generator=torch.Generator().manual_seed(0))
    soft = (0.97 * crisp(SHAPES[name]) + 0.03 * noise).clamp(0, 1)
    losses = [betti_loss(soft, [prior]).item() for prior in PRIORS]
    assert losses[right] < 0.15
    assert all(loss > 0.5 for i, loss in enumerate(losses) if i != right)


def test_random_masks_agree_with_betti_numbers() -> None:
    rng = np.random.default_rng(0)
    for share in (0.1, 0.3, 0.6, 0.9):
        mask = rng.random((6, 5, 7)) < share
        found = betti_numbers(mask)
        assert betti_loss(crisp(mask), [found]).item() == 0
        assert betti_loss(crisp(mask), [(0, 0, 0)]).item() == sum(found)


def test_two_peaks_by_hand() -> None:
    # Peaks 0.9 and 0.7 with a pass of 0.2 between them: the lower one lives from 0.7 to 0.2.
    line = torch.tensor([0.1, 0.9, 0.2, 0.7, 0.0]).view(1, 1, 1, 5).requires_grad_()
    loss = betti_loss(line, [(1, 0, 0)])
    assert loss.item() == pytest.approx(1 - 0.9**2 + 0.5**2)
    loss.backward()
    torch.testing.assert_close(line.grad.flatten(), torch.tensor([0.0, -1.8, -1.0, 1.0, 0.0]))
    assert betti_loss(line, [(2, 0, 0)]).item() == pytest.approx(1 - 0.9**2 + 1 - 0.5**2)
    assert betti_loss(line, [(3, 0, 0)]).item() == pytest.approx(1 - 0.9**2 + 1 - 0.5**2 + 1)
    assert betti_loss(line, [(0, 0, 0)]).item() == pytest.approx(0.9**2 + 0.5**2)


def test_gradient_is_of_the_right_voxels_in_space() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(2, 3, 4, 5, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: betti_loss(p, [(1, 0, 0), (1, 1, 1)]), [maps], eps=1e-7)


def test_mean_over_maps() -> None:
    maps = crisp(SHAPES["shell"], SHAPES["ball"], SHAPES["nothing"])
    assert betti_loss(maps, [(1, 0, 0)] * 3).item() == pytest.approx((1 + 0 + 1) / 3)
    assert betti_loss(maps[:0], []).item() == 0


def test_what_is_outside_the_box_of_the_probable_hardly_matters() -> None:
    soft = functional.avg_pool3d(crisp(SHAPES["two balls"]), 3, 1, 1)
    low = 0.009 * torch.rand(soft.shape, generator=torch.Generator().manual_seed(1))
    inner = betti_loss(soft, [(1, 1, 0)]).item()
    assert betti_loss(torch.maximum(soft, low), [(1, 1, 0)]).item() == pytest.approx(inner, abs=0.02)


@pytest.mark.parametrize(("stray", "prior"), [(ball(1, (16, 14, 13)), (1, 0, 0)), (ball(1), (0, 0, 0))])
def test_descent_removes_what_must_not_be(stray: np.ndarray, prior: tuple[int, int, int]) -> None:
    keep = ball(5) if prior[0] else np.zeros_like(stray)
    probabilities = (0.9 * crisp(keep) + 0.8 * crisp(stray & ~keep)).clamp(0.02, 0.9)
    logits = torch.nn.Parameter(torch.logit(probabilities))
    # One voxel per feature has a gradient: a plateau of 7 goes voxel by voxel.
    optimizer = torch.optim.Adam([logits], lr=1.0)
    start = betti_loss(logits.sigmoid(), [prior]).item()
    for _ in range(80):
        optimizer.zero_grad()
        loss = betti_loss(logits.sigmoid(), [prior])
        loss.backward()
        optimizer.step()
    assert start > 0.5
    assert loss.item() < 0.1
    assert betti_numbers((logits.sigmoid() > 0.5)[0].detach().numpy()) == prior


def test_descent_fills_a_cavity_or_opens_it() -> None:
    logits = torch.nn.Parameter(4 * crisp(ball(5) & ~ball(1)) - 2)
    optimizer = torch.optim.Adam([logits], lr=0.5)
    assert betti_numbers((logits > 0)[0].numpy()) == (1, 0, 1)
    for _ in range(80):
        optimizer.zero_grad()
        betti_loss(logits.sigmoid(), [(1, 0, 0)]).backward()
        optimizer.step()
    assert betti_numbers((logits > 0)[0].numpy()) == (1, 0, 0)


@pytest.mark.parametrize("modality", list(Modality))
def test_priors_are_true_of_the_phantom(modality: Modality) -> None:
    labels = make_subject(modality, 2.5, seed=11, number=0)[1].data
    for structure, prior in zip(STRUCTURES, STRUCTURE_PRIORS, strict=True):
        assert betti_numbers(labels == structure.index) == prior, structure.name
    assert len(STRUCTURE_PRIORS) == len(ABBREVIATIONS)


def test_flat_maps_and_half_precision_are_finite() -> None:
    for value in (0.0, 0.005, 0.5, 1.0):
        flat = torch.full((1, 3, 1, 4), value, requires_grad=True)
        loss = betti_loss(flat, [(1, 1, 1)])
        loss.backward()
        assert flat.grad is not None
        assert flat.grad.isfinite().all()
        assert loss.item() == pytest.approx(3 - value**2)
    assert betti_loss(crisp(SHAPES["ball"]).bfloat16(), [(1, 0, 0)]).item() == 0


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="four axes"):
        betti_loss(torch.zeros(3, 3, 3), [(1, 0, 0)] * 3)
    with pytest.raises(ValueError, match="one per map, got 1 for 2"):
        betti_loss(torch.zeros(2, 3, 3, 3), [(1, 0, 0)])
