import pytest
import torch
from torch import Tensor, nn

from crossmodalnet.networks.common.sliding_window import predict_probabilities


class Pointwise(nn.Module):
    """Logits that depend on the voxel alone, so that any tiling must give the same answer."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv3d(2, 8, 1)
        self.seen: list[tuple[bool, tuple[int, ...]]] = []

    def forward(self, image: Tensor) -> Tensor:
        self.seen.append((self.training, tuple(image.shape[2:])))
        return self.mix(image)


@pytest.mark.parametrize("shape", [(16, 16, 16), (21, 17, 30), (5, 40, 9)])
def test_tiling_does_not_change_a_pointwise_network(shape):
    network, image = Pointwise(), torch.randn(2, *shape)
    expected = network.mix(image[None]).softmax(1)[0]
    probabilities = predict_probabilities(network, image, patch_size=(16, 16, 16))
    torch.testing.assert_close(probabilities, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("training", [True, False])
def test_runs_in_eval_mode_on_patches_and_restores_the_mode(training):
    network = Pointwise().train(training)
    predict_probabilities(network, torch.zeros(2, 20, 20, 20), patch_size=(16, 8, 16), overlap=0.25)
    assert set(network.seen) == {(False, (16, 8, 16))}
    assert network.training is training


def test_mode_is_restored_when_the_network_fails() -> None:
    network = nn.Sequential(nn.Conv3d(3, 8, 1)).train()
    with pytest.raises(RuntimeError):
        predict_probabilities(network, torch.zeros(2, 8, 8, 8), patch_size=(8, 8, 8))
    assert network.training


def test_result_can_be_changed_in_place() -> None:
    # An inference tensor would refuse.
    predict_probabilities(Pointwise(), torch.zeros(2, 8, 8, 8), patch_size=(8, 8, 8)).add_(1)


@pytest.mark.parametrize(("shape", "overlap", "rule"), [((8,) * 3, 0.5, "shape"), ((2, 8, 8, 8), 1.0, "overlap")])
def test_bad_arguments(shape, overlap, rule):
    with pytest.raises(ValueError, match=rule):
        predict_probabilities(Pointwise(), torch.zeros(shape), patch_size=(8, 8, 8), overlap=overlap)
