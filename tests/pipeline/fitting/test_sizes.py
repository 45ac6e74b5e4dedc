from math import prod

import pytest

from crossmodalnet.networks.common.sizes import Triple
from crossmodalnet.networks.crossmodalnet.config import CrossModalNetConfig
from pipeline.config.consistency import padded_windows
from pipeline.fitting.plan import covers, levels_of, network_changes, patches_for

GRIDS: list[Triple] = [(40, 40, 40), (72, 60, 75), (87, 80, 92), (172, 172, 172), (41, 33, 66), (13, 13, 13)]


@pytest.mark.parametrize("embedding", [(4, 4, 4), (2, 2, 2), (2, 4, 4)])
@pytest.mark.parametrize("grid", GRIDS)
def test_every_patch_can_be_halved_and_cut_into_whole_windows(grid: Triple, embedding: Triple) -> None:
    """The network's own rules say so: the size is taken, and no window is wasteful."""
    patches = patches_for(grid, embedding)
    assert patches
    for patch in patches:
        levels = levels_of(patch, embedding)
        changes = network_changes(CrossModalNetConfig(), levels)
        lists = {name: tuple(v) if isinstance(v, list) else v for name, v in changes.items()}
        config = CrossModalNetConfig(patch_embedding=embedding, **lists)
        if patch != config.multiples():
            config.check_size(patch)
        assert padded_windows(config, patch) == []


@pytest.mark.parametrize("grid", GRIDS)
def test_patches_come_the_largest_first_and_hardly_exceed_the_grid(grid: Triple) -> None:
    patches = patches_for(grid, (4, 4, 4))
    assert [prod(p) for p in patches] == sorted((prod(p) for p in patches), reverse=True)
    whole = [patch for patch in patches if covers(patch, grid)]
    assert len(whole) <= 1
    assert all(n < m + 4 for patch in patches if patch not in whole for n, m in zip(patch, grid, strict=True))


def test_the_phantoms_grid_is_one_patch() -> None:
    assert patches_for((40, 40, 40), (4, 4, 4))[0] == (40, 40, 40)
