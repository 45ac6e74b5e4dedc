"""Choose the parameters that `crossmodalnet params fit` writes, and give a reason for each."""

from collections.abc import Sequence
from math import prod
from typing import Any

from crossmodalnet.errors import UsageError
from crossmodalnet.networks.common.sizes import Triple
from crossmodalnet.networks.crossmodalnet.config import CrossModalNetConfig
from pipeline.config.network import NETWORKS
from pipeline.config.params import Params
from pipeline.config.presets import merge
from pipeline.config.variants import OURS
from pipeline.fitting.hearts import HeartExtents
from pipeline.fitting.plan import (
    BATCH,
    GB,
    SHARE,
    Machine,
    SizePlan,
    StepBytes,
    levels_of,
    network_changes,
    plan_sizes,
    step_bytes,
)
from pipeline.preparation.registration import COST
from pipeline.training.params import ModelParams

# Voxels per token if CrossModalNet, which needs multiples, is not trained.
OTHERS_EMBEDDING = (4, 4, 4)


def machine_of(kind: str | None, memory_gb: float | None) -> Machine:
    """Describe the training device: the GPU, or else the free memory of this machine.

    Args:
        kind: cpu or cuda; None: cuda if there is a GPU or a memory is given.

    Raises:
        UsageError: cuda is requested without a memory, and this machine has no GPU.
    """
    import psutil
    import torch

    here = torch.cuda.is_available()
    chosen = kind or ("cuda" if here or memory_gb is not None else "cpu")
    if memory_gb is not None:
        return Machine(chosen, int(memory_gb * GB))
    if chosen == "cpu":
        return Machine(chosen, int(psutil.virtual_memory().available))
    if not here:
        raise UsageError("--device cuda, but there is no GPU here: give its memory, for instance --memory 24")
    return Machine(chosen, int(torch.cuda.get_device_properties(0).total_memory))


def fit(params: Params, hearts: HeartExtents, machine: Machine) -> tuple[Params, dict[str, str]]:
    """Choose sizes for the trained networks and reasons by key; raise ResourceError if none fits the memory."""
    config = params.network.crossmodalnet
    embedding = config.patch_embedding if OURS in params.models else OTHERS_EMBEDDING
    steps = [_step_of(name, params, config) for name in params.models]

    def largest(patch: Triple, checkpointing: bool) -> int:
        return max(step(patch, checkpointing) for step in steps)

    plan = plan_sizes(hearts, machine, embedding, largest)
    changes: dict[str, Any] = {
        "crop": {"spacing_mm": plan.spacing_mm, "size": list(plan.grid)},
        "train": {"patch_size": list(plan.patch), "batch_size": BATCH, "checkpointing": plan.checkpointing},
        "runtime": {"workers": 0},
    }
    if OURS in params.models:
        changes["network"] = {OURS: network_changes(config, plan.levels)}
    fitted = Params.model_validate(merge(params.model_dump(), changes))
    return fitted, _reasons(params, fitted, hearts, machine, plan)


def _step_of(name: str, params: Params, config: CrossModalNetConfig) -> StepBytes:
    """Return a function that counts the memory of a training step of one network."""
    section = getattr(params.network, name)

    def step(patch: Triple, checkpointing: bool) -> int:
        changes = network_changes(config, levels_of(patch, config.patch_embedding)) if name == OURS else {}
        network = NETWORKS[name].model_validate(section.model_dump() | changes)
        train = params.train.model_copy(update={"checkpointing": checkpointing})
        model = ModelParams(name, name, network, params.losses, params.augment, train)
        return step_bytes(name, model.options, patch, BATCH, tuple(params.losses.objectives))

    return step


def _reasons(old: Params, new: Params, hearts: HeartExtents, machine: Machine, plan: SizePlan) -> dict[str, str]:
    where = "the GPU" if machine.kind == "cuda" else "the CPU's memory"
    covered = prod(plan.patch) / prod(plan.grid)
    sees = "all of the grid" if covered >= 1 else f"{covered:.0%} of the grid's voxels"
    finer = f"about the scans' own median spacing, {hearts.spacing_mm:.2f} mm"
    if plan.spacing_mm > 1.2 * hearts.spacing_mm:
        limit = "memory, or time on a CPU," if machine.kind == "cpu" else "memory"
        finer = f"coarser than the scans' {hearts.spacing_mm:.2f} mm, for which {limit} would not suffice"
    need = f"{plan.step_bytes / GB:.1f} of {machine.memory_bytes / GB:.1f} GB of {where}"
    reasons = {
        "crop.spacing_mm": finer,
        "crop.size": hearts.why,
        "train.patch_size": f"the largest that fits: a step takes {need}, of which {SHARE:.0%} may be used; "
        f"it sees {sees}",
        "train.batch_size": f"{BATCH} as nnU-Net plans it: a larger patch is worth more than a larger batch",
        "train.checkpointing": "activations are recomputed, or the patch would see too little"
        if plan.checkpointing
        else "memory suffices without",
    }
    if OURS in new.models:
        config = new.network.crossmodalnet
        maps = [config.map_size(plan.patch, level) for level in range(plan.levels)]
        windows = ", ".join(_by(config.window_at(size)) for size in maps)
        reasons |= {
            f"network.{OURS}.depths": f"{plan.levels} levels: tokens {', '.join(map(_by, maps))}",
            f"network.{OURS}.heads": "doubled from level to level, as channels are",
            f"network.{OURS}.num_points": "one entry per level",
            f"network.{OURS}.window": f"chosen by the maps, which they divide: {windows}",
            f"network.{OURS}.cross_window": "the same, and all tokens at the deepest level",
        }
    case_gb = COST.bytes(hearts.largest_voxels) / GB
    reasons["runtime.workers"] = f"as cores and free memory allow; a case takes up to {case_gb:.1f} GB to register"
    return reasons


def _by(size: Sequence[int]) -> str:
    return "x".join(map(str, size))
