import numpy as np
import pytest
import torch
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import cdist

from crossmodalnet.training.adaptation.topology import spanning_tree_edges, topology_loss


def _points(n, c, seed):
    return torch.randn(n, c, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _scipy_edges(distances):
    return {tuple(sorted(pair)) for pair in np.transpose(minimum_spanning_tree(distances).nonzero()).tolist()}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n", [2, 3, 17, 120])
def test_edges_are_those_of_scipy(n, seed):
    x = _points(n, 3, seed)
    edges = spanning_tree_edges(torch.cdist(x, x)).tolist()
    assert len(edges) == n - 1
    assert {tuple(sorted(pair)) for pair in edges} == _scipy_edges(cdist(x, x))


def test_with_ties_the_tree_is_a_tree_as_short_as_that_of_scipy_and_always_the_same():
    grid = torch.cartesian_prod(torch.arange(5), torch.arange(5)).double()
    distances = torch.cdist(grid, grid, p=1)
    edges = spanning_tree_edges(distances)
    assert distances[edges[:, 0], edges[:, 1]].sum() == 24
    assert sorted(edges[:, 1].tolist()) == list(range(1, 25))  # everyone joins once,
    assert all(a == 0 or a in edges[:i, 1] for i, a in enumerate(edges[:, 0].tolist()))  # one already in
    assert torch.equal(edges, spanning_tree_edges(distances.float()))
    # All distances equal: the lowest index wins, so point 0 is everyone's parent.
    assert spanning_tree_edges(torch.ones(4, 4)).tolist() == [[0, 1], [0, 2], [0, 3]]


def test_edges_leave_their_argument_as_it_is_and_are_none_for_a_point():
    distances = torch.cdist(_points(5, 2, 0), _points(5, 2, 0))
    before = distances.clone()
    spanning_tree_edges(distances)
    assert torch.equal(distances, before)
    for n in (0, 1):
        assert spanning_tree_edges(torch.zeros(n, n)).shape == (0, 2)


@pytest.mark.parametrize("seed", range(5))
def test_loss_is_that_of_scipys_trees(seed):
    features, reference = _points(60, 5, seed), _points(60, 3, seed + 10)
    # Root mean square distance from the centroid: that of all ordered pairs over the root of 2.
    spaces = [cdist(x, x) for x in (features, reference)]
    spaces = [d / np.sqrt((d**2).mean() / 2) for d in spaces]
    squares = [(spaces[0][pair] - spaces[1][pair]) ** 2 for d in spaces for pair in _scipy_edges(d)]
    found = topology_loss(features, reference).item()
    assert found == pytest.approx(np.mean(squares), rel=1e-9)
    assert topology_loss(features.float(), reference.float()).item() == pytest.approx(found, rel=1e-4)


def test_scale_place_and_rotation_of_either_space_do_not_matter():
    x, y = _points(30, 4, 0), _points(30, 4, 1)
    rotation = torch.linalg.qr(_points(4, 4, 2))[0]
    assert topology_loss(7 * x @ rotation + 3, x).item() == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(topology_loss(1e3 * x - 5, 1e-3 * y + 1), topology_loss(x, y))


def test_gradient_agrees_with_differences_and_none_goes_to_the_reference():
    x, y = _points(8, 3, 0).requires_grad_(), _points(8, 3, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: topology_loss(x, y.detach()), [x])
    topology_loss(x, y).backward()
    assert y.grad is None


@pytest.mark.parametrize(
    "x",
    [torch.ones(6, 3), torch.eye(3)[[0, 0, 0, 1, 1, 2]], torch.zeros(0, 3), torch.ones(1, 3), torch.eye(3)[:2]],
)  # fmt: skip
def test_coinciding_and_few_points_are_finite(x):
    for a, b in ((x, x.flip(1)), (x, torch.ones(len(x), 2)), (x, torch.arange(2.0 * len(x)).view(-1, 2))):
        features = a.clone().requires_grad_()
        loss = topology_loss(features, b)
        loss.backward()
        assert features.grad.isfinite().all()
        assert loss.isfinite()
        assert len(x) > 1 or loss.item() == 0


def test_a_nan_stays_a_nan():
    bad = _points(5, 2, 0)
    bad[1] = torch.nan
    assert topology_loss(bad, _points(5, 2, 1)).isnan()
