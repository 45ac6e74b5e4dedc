"""Gradient checkpointing of a library's blocks, from outside."""

from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint


def checkpoint_blocks(network: nn.Module, kinds: tuple[type[nn.Module], ...]) -> None:
    """Make the blocks of a network recompute their activations in the backward pass.

    Names of parameters stay as they are, and copies of the network recompute too.

    Args:
        network: changed in place.
        kinds: classes of the blocks. They draw no random numbers (the state of the generators is not kept),
            and none contains another.
    """
    for module in network.modules():
        if isinstance(module, kinds):
            recomputed = partial(checkpoint, module.forward, use_reentrant=False, preserve_rng_state=False)
            # An attribute of the instance comes before the method of its class.
            module.forward = recomputed
