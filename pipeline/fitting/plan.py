"""Plan grid, patch, levels and memory: the finest grid of which a patch sees enough.

PyTorch's meta device runs a training step on shapes alone, which counts its memory within 10 % on the CPU.
"""

import logging
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import ceil, floor, prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from crossmodalnet.errors import ResourceError
from crossmodalnet.imaging.structures import NUM_CLASSES
from crossmodalnet.networks.common.build import build_network
from crossmodalnet.networks.common.sizes import Triple, dividing_window, padding_share
from crossmodalnet.networks.crossmodalnet.config import CrossModalNetConfig
from crossmodalnet.training.objectives import evaluate_objectives
from pipeline.fitting.hearts import HeartExtents

logger = logging.getLogger(__name__)

GB = 2**30
# Share of the memory for a training step.
SHARE = 0.9
# Memory besides the steps (libraries, cases, validation): measured on the CPU, assumed on a GPU.
BASE_BYTES = {"cpu": int(1.75 * GB), "cuda": int(1.5 * GB)}
# Smallest share of the grid in a patch; nnU-Net adds a coarser stage below it.
SEEN = 0.25
# On a CPU, time is the limit: a step of two such patches takes seconds.
MOST_CPU_VOXELS = 64**3
BATCH = 2
# Coarser spacing accepted to cover the grid with one patch; largest excess of that patch over the grid.
COARSER, EXCESS = 1.15, 1.25
SPACING_STEP_MM, COARSEST_MM = 0.1, 10.0
# Fewest tokens per axis at the deepest level; most levels.
FEWEST_TOKENS, MOST_LEVELS = 4, 4
# Copies of the weights: two Adam moments and the EMA.
COPIES = 3
# Bytes of a step for a patch and a batch of `BATCH`, by checkpointing.
StepBytes = Callable[[Triple, bool], int]


@dataclass(frozen=True)
class Machine:
    """A training device (cpu or cuda) and its memory."""

    kind: str
    memory_bytes: int

    @property
    def step_bytes(self) -> int:
        """Memory available to a training step."""
        return int(SHARE * self.memory_bytes) - BASE_BYTES[self.kind]


@dataclass(frozen=True)
class SizePlan:
    """Working grid, patch, levels, checkpointing, and memory of a step."""

    spacing_mm: float
    grid: Triple
    patch: Triple
    levels: int
    checkpointing: bool
    step_bytes: int


def plan_sizes(hearts: HeartExtents, machine: Machine, embedding: Triple, step: StepBytes) -> SizePlan:
    """Choose the finest grid (not finer than the scans) of which the largest fitting patch covers a quarter.

    Args:
        embedding: voxels per token of the network.
        step: counts the memory of a step; takes seconds, so it is rarely called.

    Raises:
        ResourceError: the memory is too small even for the coarsest grid.
    """
    memory = _Memory(step)
    for spacing in _spacings(hearts.spacing_mm):
        x, y, z = (ceil(edge / spacing) for edge in hearts.need_mm)
        for patch, checkpointing in _tries((x, y, z), machine, embedding):
            if memory.guess(patch, checkpointing) > machine.step_bytes:
                continue
            if (need := memory.count(patch, checkpointing)) <= machine.step_bytes:
                levels = levels_of(patch, embedding)
                spacing, grid = _one_patch(hearts.need_mm, spacing, (x, y, z), patch)
                return SizePlan(spacing, grid, patch, levels, checkpointing, need)
    raise ResourceError(
        f"a training step of these networks does not fit into {machine.memory_bytes / GB:.1f} GB: give --memory "
        "of a larger machine, or set fewer channels or a smaller network in section network"
    )


def network_changes(config: CrossModalNetConfig, levels: int) -> dict[str, Any]:
    """Return the network options for a number of levels; null windows follow the feature maps."""
    return {
        "depths": [*config.depths[-levels:], *[config.depths[-1]] * levels][:levels],  # of fewer levels, the coarsest
        "heads": [config.heads[0] << level for level in range(levels)],
        "num_points": [*config.num_points, *[config.num_points[-1]] * levels][:levels],
        "window": None,
        "cross_window": None,
    }


def _one_patch(
    need_mm: tuple[float, float, float], spacing: float, grid: Triple, patch: Triple
) -> tuple[float, Triple]:
    """Coarsen the grid slightly if one patch then covers it, instead of eight sliding windows."""
    if covers(patch, grid):
        return spacing, patch
    edge = max(need / n for need, n in zip(need_mm, patch, strict=True))
    coarser = ceil(round(edge / SPACING_STEP_MM, 6)) * SPACING_STEP_MM
    return (round(coarser, 1), patch) if coarser <= COARSER * spacing else (spacing, grid)


class _Memory:
    """Counts each step once and estimates other steps from the nearest count."""

    def __init__(self, step: StepBytes) -> None:
        self._step = step
        self._counts: dict[tuple[Triple, bool], int] = {}

    def count(self, patch: Triple, checkpointing: bool) -> int:
        key = patch, checkpointing
        if key not in self._counts:
            self._counts[key] = self._step(patch, checkpointing)
            logger.debug("a step of %s: %.2f GB", patch, self._counts[key] / GB)
        return self._counts[key]

    def guess(self, patch: Triple, checkpointing: bool) -> float:
        """Estimate slightly low, in proportion to voxels, to skip patches that are clearly too large."""
        counts = {p: n for (p, other), n in self._counts.items() if other == checkpointing}
        if not counts or patch in counts:
            return counts.get(patch, 0)
        near = min(counts, key=lambda p: abs(prod(p) - prod(patch)))
        return 0.95 * counts[near] * prod(patch) / prod(near)


def _spacings(finest_mm: float) -> Iterator[float]:
    tenths = ceil(round(finest_mm / SPACING_STEP_MM, 6))
    while (spacing := round(tenths * SPACING_STEP_MM, 1)) <= COARSEST_MM:
        yield spacing
        tenths += max(1, floor(0.05 * tenths))


def _tries(grid: Triple, machine: Machine, embedding: Triple) -> Iterator[tuple[Triple, bool]]:
    """List patches large enough for a grid, largest first; then again with checkpointing."""
    patches = [p for p in patches_for(grid, embedding) if prod(p) >= SEEN * prod(grid)]
    if machine.kind == "cpu":
        patches = [p for p in patches if prod(p) <= MOST_CPU_VOXELS]
    yield from ((patch, False) for patch in patches)
    yield from ((patch, True) for patch in patches)


def levels_of(patch: Triple, embedding: Triple) -> int:
    """Return the levels (1 to `MOST_LEVELS`) with `FEWEST_TOKENS` on every axis of the deepest one.

    >>> [levels_of((n, n, n), (4, 4, 4)) for n in (16, 40, 64, 96, 160)]
    [1, 2, 3, 3, 4]
    """
    tokens = min(n // e for n, e in zip(patch, embedding, strict=True))
    return next((n for n in range(MOST_LEVELS, 1, -1) if tokens >> (n - 1) >= FEWEST_TOKENS), 1)


def suits(patch: Triple, embedding: Triple) -> bool:
    """Return True if every level has a whole feature map that whole windows divide.

    >>> suits((40, 40, 40), (4, 4, 4)), suits((44, 40, 40), (4, 4, 4)), suits((104, 104, 104), (4, 4, 4))
    (True, False, False)
    """
    for level in range(levels_of(patch, embedding)):
        strides = [e << level for e in embedding]
        if any(n % stride for n, stride in zip(patch, strides, strict=True)):
            return False
        d, h, w = (n // stride for n, stride in zip(patch, strides, strict=True))
        if padding_share((d, h, w), dividing_window((d, h, w))) > 0:
            return False
    return True


def patches_for(grid: Triple, embedding: Triple) -> list[Triple]:
    """List patches, largest first: one that covers the grid, then smaller ones of its proportions."""
    candidates = {patch for scale in range(125, 19, -1) if (patch := _near(grid, scale / 100, embedding))}
    whole = [p for p in candidates if covers(p, grid) and prod(p) <= EXCESS * prod(grid)]
    rounded = [ceil(n / e) * e for n, e in zip(grid, embedding, strict=True)]
    parts = [p for p in candidates if all(n <= m for n, m in zip(p, rounded, strict=True))]
    return sorted({*sorted(whole, key=prod)[:1], *parts}, key=lambda p: (-prod(p), p))


def covers(patch: Triple, grid: Triple) -> bool:
    """Return True if one patch covers the whole grid."""
    return all(n >= m for n, m in zip(patch, grid, strict=True))


def _near(grid: Triple, scale: float, embedding: Triple) -> Triple | None:
    """Find the smallest suitable patch that covers a scaled grid, at most eight tokens larger, or None."""
    first = [ceil(max(2 * e, ceil(scale * n)) / e) * e for n, e in zip(grid, embedding, strict=True)]
    d, h, w = (range(low, low + 8 * e, e) for low, e in zip(first, embedding, strict=True))
    patches = sorted(product(d, h, w), key=lambda p: (prod(p), p))
    return next((patch for patch in patches if suits(patch, embedding)), None)


class LiveBytes(TorchDispatchMode):
    """Counts the current and peak bytes of live tensors."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._seen: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()

    def add(self, tensor: Tensor) -> None:
        """Count a tensor's storage once, until it is freed."""
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
    """Count the memory of a float32 training step: weights, Adam, gradients, activations, batch.

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
    return live.peak + COPIES * weights
