"""Sizes for hearts and memories: the rules hold for any memory model that grows with the patch."""

from math import prod

import pytest

from crossmodalnet.errors import ResourceError
from crossmodalnet.networks.common.sizes import Triple
from pipeline.fitting.hearts import HeartExtents
from pipeline.fitting.plan import GB, MOST_CPU_VOXELS, SEEN, Machine, plan_sizes


def hearts(edge_mm: float, spacing_mm: float) -> HeartExtents:
    return HeartExtents((edge_mm, 0.8 * edge_mm, edge_mm), (edge_mm,) * 3, spacing_mm, 3, 0, 10**6)


def step(patch: Triple, checkpointing: bool) -> int:
    """Bytes as a network of 5 kB a voxel has them, half of that with checkpointing."""
    return 2 * prod(patch) * (2500 if checkpointing else 5000) + 50_000_000


@pytest.mark.parametrize("edge_mm", [90.0, 130.0, 170.0])
@pytest.mark.parametrize("spacing_mm", [0.5, 1.2, 2.2])
@pytest.mark.parametrize(
    "machine", [Machine("cuda", 8 * GB), Machine("cuda", 24 * GB), Machine("cpu", 8 * GB)]
)
def test_the_grid_holds_the_hearts_the_patch_sees_enough_and_memory_suffices(
    edge_mm: float, spacing_mm: float, machine: Machine
) -> None:
    need = hearts(edge_mm, spacing_mm)
    plan = plan_sizes(need, machine, (4, 4, 4), step)
    assert all(n * plan.spacing_mm >= mm - 1e-6 for n, mm in zip(plan.grid, need.need_mm, strict=True))
    assert all(n <= m + 3 for n, m in zip(plan.patch, plan.grid, strict=True))
    assert prod(plan.patch) >= SEEN * prod(plan.grid)
    assert step(plan.patch, plan.checkpointing) == plan.step_bytes <= machine.step_bytes
    assert plan.spacing_mm >= spacing_mm
    if machine.kind == "cpu":
        assert prod(plan.patch) <= MOST_CPU_VOXELS


def test_more_memory_gives_a_finer_grid() -> None:
    spacings = [
        plan_sizes(hearts(150.0, 0.5), Machine("cuda", memory * GB), (4, 4, 4), step).spacing_mm
        for memory in (4, 8, 24, 80)
    ]
    assert spacings == sorted(spacings, reverse=True)
    assert spacings[-1] < spacings[0]


def test_steps_are_counted_rarely() -> None:
    counted: list[tuple[Triple, bool]] = []

    def slow(patch: Triple, checkpointing: bool) -> int:
        counted.append((patch, checkpointing))
        return step(patch, checkpointing)

    plan_sizes(hearts(150.0, 0.5), Machine("cuda", 8 * GB), (4, 4, 4), slow)
    assert len(counted) <= 6


def test_too_little_memory_is_an_error() -> None:
    with pytest.raises(ResourceError, match=r"does not fit into 0\.5 GB"):
        plan_sizes(hearts(150.0, 1.0), Machine("cpu", GB // 2), (4, 4, 4), step)
