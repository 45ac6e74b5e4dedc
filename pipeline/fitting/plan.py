"""Grid, patch, levels and batch for hearts of a size and a memory: the finest grid whose patch sees enough of it."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, prod
from typing import Any

from crossmodalnet.errors import ResourceError
from crossmodalnet.networks.common.sizes import Triple
from crossmodalnet.networks.crossmodalnet.config import CrossModalNetConfig
from pipeline.fitting.hearts import HeartExtents
from pipeline.fitting.sizes import covers, levels_of, patches_for

logger = logging.getLogger(__name__)

GB = 2**30
# Of the memory that a step may take; the rest is for what else lives there.
SHARE = 0.9
# What a training takes beside its steps, libraries, cases and validation: measured on the CPU (1.2 GB for the default,
# 1.6 GB for a grid of 64 x 48 x 64); of a GPU the usual size of CUDA's context and workspaces, not measured.
BASE_BYTES = {"cpu": int(1.75 * GB), "cuda": int(1.5 * GB)}
# Part of the grid's voxels that a patch sees at least, as nnU-Net has it before it plans a coarser stage.
SEEN = 0.25
# On a CPU time is short before memory is: a step of two such patches takes seconds.
MOST_CPU_VOXELS = 64**3
BATCH = 2
# Spacing that is given up, as a factor, so that one patch is the whole grid.
COARSER = 1.15
SPACING_STEP_MM, COARSEST_MM = 0.1, 10.0
# Bytes of a step, for a patch and a batch of `BATCH`, and whether activations are computed anew.
StepBytes = Callable[[Triple, bool], int]


@dataclass(frozen=True)
class Machine:
    """What is trained on.

    Attributes:
        kind: cpu or cuda.
        memory_bytes: memory of the GPU, or of the machine.
    """

    kind: str
    memory_bytes: int

    @property
    def step_bytes(self) -> int:
        """What a training step may take."""
        return int(SHARE * self.memory_bytes) - BASE_BYTES[self.kind]

    @property
    def most_voxels(self) -> int | None:
        """Voxels of a patch at most, for the sake of time."""
        return MOST_CPU_VOXELS if self.kind == "cpu" else None


@dataclass(frozen=True)
class SizePlan:
    """Sizes that fit.

    Attributes:
        spacing_mm: spacing of the working grid.
        grid: voxels of the working grid.
        patch: voxels that the network sees at once.
        levels: levels of our network.
        checkpointing: whether activations are computed anew in the backward pass.
        step_bytes: memory of a training step.
    """

    spacing_mm: float
    grid: Triple
    patch: Triple
    levels: int
    checkpointing: bool
    step_bytes: int


def plan_sizes(hearts: HeartExtents, machine: Machine, embedding: Triple, step: StepBytes) -> SizePlan:
    """Choose the finest grid, from the scans' own spacing on, of which the largest patch that fits sees a quarter.

    Args:
        hearts: extents of the hearts.
        machine: memory.
        embedding: voxels per token of the network.
        step: memory of a step; called rarely, as it takes seconds.

    Raises:
        ResourceError: the memory is too little even for the coarsest grid.
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


def network_changes(config: CrossModalNetConfig, plan: SizePlan) -> dict[str, Any]:
    """Options of our network for a plan: lists of as many levels, windows chosen by the maps."""
    levels = plan.levels
    points = (*config.num_points, *[config.num_points[-1]] * levels)[:levels]
    return {
        "depths": [*config.depths, *[config.depths[-1]] * levels][:levels],
        "heads": [config.heads[0] << level for level in range(levels)],
        "num_points": list(points),
        "window": None,
        "cross_window": None,
        "checkpointing": plan.checkpointing,
    }


def _one_patch(
    need_mm: tuple[float, float, float], spacing: float, grid: Triple, patch: Triple
) -> tuple[float, Triple]:
    """Let one patch be the whole grid where that makes it hardly coarser: else a case takes eight windows."""
    if covers(patch, grid):
        return spacing, patch
    edge = max(need / n for need, n in zip(need_mm, patch, strict=True))
    coarser = ceil(round(edge / SPACING_STEP_MM, 6)) * SPACING_STEP_MM
    return (round(coarser, 1), patch) if coarser <= COARSER * spacing else (spacing, grid)


class _Memory:
    """Counts steps once each, and guesses others by their voxels from the nearest count."""

    def __init__(self, step: StepBytes) -> None:
        self._step = step
        self._known: dict[tuple[Triple, bool], int] = {}

    def count(self, patch: Triple, checkpointing: bool) -> int:
        key = patch, checkpointing
        if key not in self._known:
            self._known[key] = self._step(patch, checkpointing)
            logger.debug("a step of %s: %.2f GB", patch, self._known[key] / GB)
        return self._known[key]

    def guess(self, patch: Triple, checkpointing: bool) -> float:
        """Memory by proportion: a little low for smaller patches, since weights do not shrink with them."""
        if (patch, checkpointing) in self._known:
            return self._known[patch, checkpointing]
        counts = {p: n for (p, anew), n in self._known.items() if anew == checkpointing}
        if not counts:
            return 0.0
        near = min(counts, key=lambda p: abs(prod(p) - prod(patch)))
        # Only what is clearly too large is passed over without a count.
        return 0.95 * counts[near] * prod(patch) / prod(near)


def _spacings(finest_mm: float) -> Iterator[float]:
    tenths = ceil(round(finest_mm / SPACING_STEP_MM, 6))
    while (spacing := round(tenths * SPACING_STEP_MM, 1)) <= COARSEST_MM:
        yield spacing
        tenths += max(1, floor(0.05 * tenths))


def _tries(grid: Triple, machine: Machine, embedding: Triple) -> Iterator[tuple[Triple, bool]]:
    """Patches for a grid that see enough of it, the largest first; then the same with less memory and more time."""
    patches = [p for p in patches_for(grid, embedding) if prod(p) >= SEEN * prod(grid)]
    if machine.most_voxels is not None:
        patches = [p for p in patches if prod(p) <= machine.most_voxels]
    yield from ((patch, False) for patch in patches)
    yield from ((patch, True) for patch in patches)


def largest_of(steps: Sequence[StepBytes]) -> StepBytes:
    """Memory of the network that takes most."""
    return lambda patch, checkpointing: max(step(patch, checkpointing) for step in steps)
