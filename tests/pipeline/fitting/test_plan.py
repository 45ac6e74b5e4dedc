from math import prod
from unittest.mock import Mock

import pytest
import torch

from crossmodalnet.errors import ResourceError
from crossmodalnet.networks.crossmodalnet.config import CrossModalNetConfig
from crossmodalnet.processes import run_alone
from pipeline.config.consistency import padded_windows
from pipeline.config.sections import LossesConfig, TrainConfig
from pipeline.evaluation.workload import Workload, measure_memory
from pipeline.fitting import plan as planning
from pipeline.fitting.hearts import HeartExtents
from pipeline.fitting.plan import GB, Machine, patches_for, plan_sizes


def hearts(edge_mm, spacing_mm):
    return HeartExtents((edge_mm, 0.8 * edge_mm, edge_mm), (edge_mm,) * 3, spacing_mm, 3, 0, 10**6)


def step(patch, checkpointing):
    """Bytes as a network of 5 kB a voxel has them, half of that with checkpointing."""
    return 2 * prod(patch) * (2500 if checkpointing else 5000) + 50_000_000


@pytest.mark.parametrize("edge_mm", [90.0, 130.0, 170.0])
@pytest.mark.parametrize("spacing_mm", [0.5, 1.2, 2.2])
@pytest.mark.parametrize(("kind", "memory"), [("cuda", 8), ("cuda", 24), ("cpu", 8)])
def test_the_grid_holds_the_hearts_the_patch_sees_enough_and_memory_suffices(edge_mm, spacing_mm, kind, memory):
    machine = Machine(kind, memory * GB)
    need = hearts(edge_mm, spacing_mm)
    plan = plan_sizes(need, machine, (4, 4, 4), step)
    assert all(n * plan.spacing_mm >= mm - 1e-6 for n, mm in zip(plan.grid, need.need_mm, strict=True))
    assert all(n <= m + 3 for n, m in zip(plan.patch, plan.grid, strict=True))
    assert prod(plan.patch) >= planning.SEEN * prod(plan.grid)
    assert step(plan.patch, plan.checkpointing) == plan.step_bytes <= machine.step_bytes
    assert plan.spacing_mm >= spacing_mm
    if kind == "cpu":
        assert prod(plan.patch) <= planning.MOST_CPU_VOXELS


def test_more_memory_gives_a_finer_grid():
    machines = [Machine("cuda", memory * GB) for memory in (4, 8, 24, 80)]
    spacings = [plan_sizes(hearts(150.0, 0.5), own, (4, 4, 4), step).spacing_mm for own in machines]
    assert spacings == sorted(spacings, reverse=True)
    assert spacings[-1] < spacings[0]


def test_steps_are_counted_rarely():
    slow = Mock(side_effect=step)
    plan_sizes(hearts(150.0, 0.5), Machine("cuda", 8 * GB), (4, 4, 4), slow)
    assert slow.call_count <= 6


def test_too_little_memory_is_an_error():
    with pytest.raises(ResourceError, match=r"does not fit into 0\.5 GB"):
        plan_sizes(hearts(150.0, 1.0), Machine("cpu", GB // 2), (4, 4, 4), step)


GRIDS = [(40, 40, 40), (72, 60, 75), (87, 80, 92), (172, 172, 172), (41, 33, 66), (13, 13, 13)]


@pytest.mark.parametrize(("levels", "depths"), [(1, [1]), (2, [0, 1]), (3, [0, 1, 1])])
def test_the_coarsest_levels_keep_their_layers(levels, depths):
    assert planning.network_changes(CrossModalNetConfig(), levels)["depths"] == depths


@pytest.mark.parametrize("embedding", [(4, 4, 4), (2, 2, 2), (2, 4, 4)])
@pytest.mark.parametrize("grid", GRIDS)
def test_every_patch_can_be_halved_and_cut_into_whole_windows(grid, embedding):
    patches = patches_for(grid, embedding)
    assert patches
    for patch in patches:
        changes = planning.network_changes(CrossModalNetConfig(), planning.levels_of(patch, embedding))
        lists = {name: tuple(v) if isinstance(v, list) else v for name, v in changes.items()}
        config = CrossModalNetConfig(patch_embedding=embedding, **lists)
        if patch != config.multiples():
            config.check_size(patch)
        assert padded_windows(config, patch) == []


@pytest.mark.parametrize("grid", GRIDS)
def test_patches_come_the_largest_first_and_hardly_exceed_the_grid(grid):
    patches = patches_for(grid, (4, 4, 4))
    assert [prod(p) for p in patches] == sorted((prod(p) for p in patches), reverse=True)
    whole = [patch for patch in patches if planning.covers(patch, grid)]
    assert len(whole) <= 1
    assert all(n < m + 4 for patch in patches if patch not in whole for n, m in zip(patch, grid, strict=True))


def test_the_phantoms_grid_is_one_patch():
    assert patches_for((40, 40, 40), (4, 4, 4))[0] == (40, 40, 40)


def test_what_lives_is_counted_and_what_is_gone_is_not():
    with planning.LiveBytes() as live:
        first = torch.empty(100, device="meta")
        view = first[:50]
        second = first + 1
        assert live.now == 800
        del second
        assert live.now == 400
        del first
        assert live.now == 400  # the view shares the storage
        del view
        assert (live.now, live.peak) == (0, 800)


@pytest.mark.stress
@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_count_is_what_a_process_grows_by(checkpointing):
    """An independent measurement: the resident memory of a process that takes the step."""
    size = (48, 48, 48)
    options = {"checkpointing": checkpointing, "deep_supervision": True}
    train = TrainConfig(patch_size=size, batch_size=2)
    cpu = torch.device("cpu")
    work = Workload("crossmodalnet", options, train, LossesConfig(), size, 0.5, cpu, 1, 0)
    counted = planning.step_bytes("crossmodalnet", options, size, 2, ("dice", "ce")) / 2**20
    step_mb, _ = run_alone(measure_memory, work)
    assert step_mb == pytest.approx(counted, rel=0.2)
