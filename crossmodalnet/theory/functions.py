"""A fixed family of continuous functions of two images, and networks trained to follow them (Theorem 2.3)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from crossmodalnet.networks.crossmodalnet.assembly import build_crossmodalnet
from crossmodalnet.networks.crossmodalnet.config import CrossModalNetConfig
from crossmodalnet.theory.capture import own_generator

# Of standardised images a (CT) and b (MR), (n, 1, d, h, w) each.
FUNCTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "product": lambda a, b: a * b,
    "maximum": torch.maximum,
    "local mean of CT times MR": lambda a, b: functional.avg_pool3d(a, 3, 1, 1, count_include_pad=False) * b,
}
SIZE = (8, 8, 8)
BATCH = 8
NUM_TEST = 32
LEARNING_RATE = 1e-2
# Blur of the random images, voxels: smooth enough to have structure, rough enough to have detail.
SMOOTHING = 1


def random_images(n: int, generator: torch.Generator) -> Tensor:
    """Draw smooth images with mean 0 and variance 1 per image and stream, `(n, 2, *SIZE)`."""
    noise = torch.randn(n, 2, *SIZE, generator=generator)
    width = 2 * SMOOTHING + 1
    smooth = functional.avg_pool3d(noise, width, 1, SMOOTHING, count_include_pad=False)
    mean, std = smooth.mean((2, 3, 4), keepdim=True), smooth.std((2, 3, 4), keepdim=True)
    return (smooth - mean) / std


def targets(images: Tensor) -> Tensor:
    """Compute every function of the family, standardised over the batch: `(n, functions, *SIZE)`."""
    a, b = images[:, :1], images[:, 1:]
    values = torch.cat([function(a, b) for function in FUNCTIONS.values()], dim=1)
    axes = (0, 2, 3, 4)
    return (values - values.mean(axes, keepdim=True)) / values.std(axes, keepdim=True)


def small_config(config: CrossModalNetConfig, channels: int, depth: int) -> CrossModalNetConfig:
    """Take the options of a network, but two levels of `depth` layers and `channels` at the finer one.

    There is no deep supervision: its coarser logits serve training alone, while the claim is about the function that
    the network computes. Nor is there a token for a missing image, since the functions are of two.
    """
    return config.model_copy(
        update={
            "channels": channels,
            "depths": (depth, depth),
            "heads": (1, 2),
            "patch_embedding": (2, 2, 2),
            "window": (4, 4, 4),
            "cross_window": ((4, 4, 4), None),
            "num_points": (1, 2),
            "stem_channels": (4,),
            "head_channels": 8,
            "checkpointing": False,
            "deep_supervision": False,
            "missing_token": False,
        }
    )


def errors_after_training(
    config: CrossModalNetConfig, steps: int, seed: int, device: torch.device
) -> dict[str, float]:
    """Train one network on all functions at once and measure its errors on new images.

    Args:
        config: config as `small_config` gives it.
        steps: steps of Adam.
        seed: seed of weights and images.
        device: device of the training.

    Returns:
        root mean square error by function, over the function's standard deviation: 1 is what a constant achieves.
    """
    with own_generator(seed):
        network: nn.Module = build_crossmodalnet(config.options(), SIZE, len(FUNCTIONS)).to(device)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        images = random_images(BATCH, generator)
        loss = functional.mse_loss(network(images.to(device)), targets(images).to(device))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    unseen = random_images(NUM_TEST, generator)
    with torch.no_grad():
        difference = network.eval()(unseen.to(device)).cpu() - targets(unseen)
    errors = difference.square().mean((0, 2, 3, 4)).sqrt()
    return {name: float(error) for name, error in zip(FUNCTIONS, errors, strict=True)}
