"""Memory of a training step, counted without computing it: the step is made with tensors that have no content.

PyTorch's meta device runs every operation of forward and backward pass on shapes alone. Whatever lives at a time, saved
activations, gradients, what checkpointing computes anew, is counted when it comes and when it goes; its largest sum is
the peak. Against the growth of a process on the CPU it was right within a tenth (docs/own_data.md).
"""

import weakref
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from crossmodalnet.imaging.structures import NUM_CLASSES
from crossmodalnet.networks.common.build import build_network
from crossmodalnet.networks.common.sizes import Triple
from crossmodalnet.training.objectives import evaluate_objectives

# Adam keeps two moments of every weight, a running mean of the weights a copy of it.
MOMENTS, MEANS = 2, 1


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that are alive, and their peak."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._seen: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()

    def add(self, tensor: Tensor) -> None:
        """Count a tensor, once for all that share its storage, for as long as it lives."""
        storage = tensor.untyped_storage()
        if storage in self._seen:
            return
        num_bytes = self._seen[storage] = storage.nbytes()
        weakref.finalize(storage, self._remove, num_bytes)
        self.now += num_bytes
        self.peak = max(self.peak, self.now)

    def _remove(self, num_bytes: int) -> None:
        self.now -= num_bytes

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.add(leaf)
        return result


def step_bytes(
    model: str, options: Mapping[str, Any], patch_size: Triple, batch_size: int, objectives: tuple[str, ...]
) -> int:
    """Count the memory of a training step in single precision: weights, Adam, gradients, activations, batch.

    Args:
        model: key of the network's builder.
        options: options of the network.
        patch_size: voxels per axis.
        batch_size: samples on one device.
        objectives: keys of the objectives.

    Raises:
        ValueError: the network cannot be built for this patch.
    """
    with torch.device("meta"):
        network: nn.Module = build_network(model, options, patch_size=patch_size, num_classes=NUM_CLASSES)
    network.train()
    live = LiveBytes()
    for tensor in (*network.parameters(), *network.buffers()):
        live.add(tensor.detach())
    weights = sum(p.numel() * p.element_size() for p in network.parameters())
    with live:
        image = torch.empty(batch_size, 2, *patch_size, device="meta")
        label = torch.empty(batch_size, *patch_size, device="meta", dtype=torch.int64)
        evaluate_objectives(objectives, network(image), label).sum().backward()  # type: ignore[no-untyped-call]
    return live.peak + (MOMENTS + MEANS) * weights
