import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d

from crossmodalnet.imaging.samples import Misregistration, apply_misregistration, random_misregistration, without
from crossmodalnet.networks.common.build import build_network
from crossmodalnet.networks.crossmodalnet import alignment as module
from crossmodalnet.networks.crossmodalnet.alignment import Alignment, move

MOVES = [
    Misregistration((5.0, -3.0, 2.0), (0.0, 0.0, 0.0)),
    Misregistration((-2.0, 0.0, 4.0), (8.0, -5.0, 6.0)),
    Misregistration((0.0, 0.0, 0.0), (0.0, 15.0, 0.0)),
]
LARGEST = ((8, 20), (2, 4))  # voxels and degrees, far and near


@pytest.fixture(scope="module")
def image() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(1, 1, 48, 48, 48, generator=generator)
    smooth = avg_pool3d(avg_pool3d(noise, 5, 1), 5, 1)[0]
    return (smooth - smooth.min()) / (smooth.max() - smooth.min())


@pytest.fixture(scope="module")
def alignment(image: Tensor) -> Alignment:
    """Trained for a few seconds; its MR is the CT with inverted contrast."""
    torch.manual_seed(0)
    made, random = Alignment(), np.random.RandomState(0)
    optimizer = torch.optim.Adam(made.parameters(), lr=4e-3)
    for _ in range(100):
        moves = [random_misregistration(random.uniform(0, s), random.uniform(0, d), random) for s, d in LARGEST]
        loss = made.loss(*(torch.cat(of) for of in zip(*((pair(image, m), matrix(m)) for m in moves), strict=True)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return made.eval()


def matrix(transform: Misregistration) -> Tensor:
    return torch.tensor(transform.matrix(), dtype=torch.float32)[None]


def pair(image: Tensor, misregistration: Misregistration) -> Tensor:
    return torch.cat([image, apply_misregistration(1 - image, misregistration)])[None]


@pytest.mark.parametrize("moved", MOVES)
def test_the_transform_is_found_and_undone(image: Tensor, alignment: Alignment, moved: Misregistration) -> None:
    x = pair(image, moved)
    points = module._tokens(x)[0]
    points = points[points.norm(dim=1) < 15]
    gap = module._apply(alignment.transform(x), points) - module._apply(matrix(moved), points)
    assert gap.norm(dim=2).mean() < 0.6  # voxels
    middle = (slice(12, -12),) * 3
    before, after = ((y[0, 1] - (1 - image[0]))[middle].abs().mean() for y in (x, alignment(x)))
    assert after < 0.5 * before


@pytest.mark.parametrize("moved", MOVES)
def test_the_true_transform_undoes_a_misregistration(image: Tensor, moved: Misregistration) -> None:
    back = move(pair(image, moved)[:, 1:], matrix(moved))
    middle = (slice(12, -12),) * 3
    assert (back[0, 0] - (1 - image[0]))[middle].abs().max() < 0.15  # of 1: interpolated twice


def test_the_loss_is_least_at_the_true_transform(image: Tensor, alignment: Alignment) -> None:
    little = [Misregistration((shift, 0.0, 0.0), (0.0, 0.0, 0.0)) for shift in (1.5, 0.0, -1.5)]
    x = torch.cat([pair(image, MOVES[0]), pair(image, little[0])])

    def loss(far: Misregistration, near: Misregistration) -> float:
        return alignment.loss(x, torch.cat([matrix(far), matrix(near)])).item()

    far = [loss(move, little[0]) for move in MOVES]
    assert far[0] < 0.75 * min(far[1:])
    near = [loss(MOVES[0], move) for move in little]
    assert near[0] < near[1] - 0.2 < near[2] - 0.4  # nats


def test_near_passes_make_the_transform_more_exact(
    image: Tensor, alignment: Alignment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gap() -> float:
        gaps = [module._apply(alignment.transform(pair(image, m)) - matrix(m), points) for m in MOVES]
        return float(torch.cat(gaps).norm(dim=2).mean())

    points = module._tokens(image[None])[0]
    exact = gap()
    monkeypatch.setattr(module, "NEAR_PASSES", 0)
    assert exact < 0.7 * gap()


def test_what_is_in_place_or_missing_stays(image: Tensor, alignment: Alignment) -> None:
    still = pair(image, Misregistration((0.2, 0.0, 0.0), (0.0, 0.0, 0.0)))
    lost = without(pair(image, MOVES[0]), 0)
    batch = torch.cat([still, lost, pair(image, MOVES[0])])
    out = alignment(batch)
    assert torch.equal(out[:2], batch[:2])
    assert not torch.equal(out[2], batch[2])
    assert torch.allclose(out[2], alignment(batch[2:])[0], atol=1e-5)


def test_outliers_do_not_turn_the_fit() -> None:
    generator = torch.Generator().manual_seed(1)
    points = torch.rand(400, 3, generator=generator) * 10 - 5
    found = module._apply(matrix(MOVES[1]), points * 4) / 4 + 0.2 * torch.randn(1, 400, 3, generator=generator)
    found[:, :120] = torch.rand(120, 3, generator=generator) * 10 - 5
    transform = module._rigid(points, found, torch.ones(1, 400), torch.full((3,), 4.0))
    rotation = transform[0, :, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-5)
    assert float(torch.linalg.det(rotation)) == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_allclose(transform, matrix(MOVES[1]), atol=0.15)


def test_the_network_aligns_in_evaluation_alone(image: Tensor) -> None:
    torch.manual_seed(0)
    options = {"align": True, "channels": 12, "depths": (0, 1), "heads": (1, 2), "deformable": False}
    network = build_network("crossmodalnet", options, patch_size=(40, 40, 40), num_classes=3)
    assert network.alignment is not None
    seen: list[Tensor] = []
    network.alignment.register_forward_hook(lambda *call: seen.append(call[1][0]))
    x = pair(image, MOVES[0])
    logits = network.train()(x)
    assert (logits[0] if isinstance(logits, list) else logits).shape == (1, 3, 40, 40, 40)
    assert not seen
    network.eval()(x)
    assert torch.equal(seen[0], x)


@pytest.mark.parametrize(
    ("size", "tokens"), [((40, 40, 40), [10, 10, 10]), ((128, 96, 64), [12, 9, 6]), ((16, 8, 200), [1, 1, 12])]
)
def test_all_pairs_of_tokens_stay_few(size: tuple[int, int, int], tokens: list[int]) -> None:
    assert module._token_size(torch.zeros(1, 1, *size)) == tokens
