"""Values that do nothing are told, values that a stage would refuse are refused before the first one."""

from typing import Any

import pytest

from crossmodalnet.networks.common import card
from pipeline.config import consistency, presets
from pipeline.config.consistency import contradictions, without_effect
from pipeline.config.params import Params


def changed(**sections: dict[str, Any]) -> Params:
    return Params.model_validate(presets.merge(Params().model_dump(), sections))


@pytest.mark.parametrize("name", presets.names())
def test_a_preset_has_nothing_without_effect(name: str) -> None:
    params = presets.load(name)
    assert without_effect(params) == contradictions(params) == []


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"network": {"mednext": {"size": "b"}}}, "network.mednext is set, but mednext is in neither models"),
        ({"train": {"seconds": 60.0}}, "train.seconds is set, but train.budget is epochs"),
        ({"train": {"budget": "seconds", "epochs": 3}}, "train.epochs is set, but train.budget is seconds"),
        (
            {"data": {"source": "mmwhs", "path": "/hearts", "phantom": {"num_labelled": 4}}},
            "data.phantom is set, but data.source is mmwhs",
        ),
        (
            {"adapt": {"enabled": True, "scenario": "ct_to_mr", "target": {"phantom": {"seed": 7}}}},
            "adapt.target is set, but adapt.scenario is ct_to_mr",
        ),
        ({"adapt": {"target": {"source": "unlabelled"}}}, "adapt.target is set, but adapt.enabled is false"),
        (
            {"network": {"crossmodalnet": {"cross": False, "cross_scale": 0.5}}},
            "network.crossmodalnet.cross_scale is set, but cross is false: it changes nothing",
        ),
        (
            {"network": {"crossmodalnet": {"deformable": False, "offset_lr_factor": 0.5}}},
            "network.crossmodalnet.offset_lr_factor is set, but deformable is false",
        ),
        (
            {"network": {"crossmodalnet": {"stem": "linear", "stem_channels": [4]}}},
            "network.crossmodalnet.stem_channels is set, but stem is linear",
        ),
        (
            {"adapt": {"enabled": True}, "train": {"modality_dropout": 0.2}},
            "train.modality_dropout is set, but adapt.enabled is true",
        ),
        (
            {"network": {"crossmodalnet": {"streams": "ct"}}, "train": {"modality_dropout": 0.2}},
            "train.modality_dropout is set, but network.crossmodalnet.streams is ct",
        ),
        (
            {"augment": {"enabled": False, "displacement_probability": 0.5}},
            "augment is set, but augment.enabled is false",
        ),
    ],
)
def test_a_value_without_effect_is_named(sections: dict[str, Any], told: str) -> None:
    [line] = without_effect(changed(**sections))
    assert line.startswith(told)


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"seeds": [0, 2**31]}, "seeds = 2147483648: must be at most 2147483647"),
        ({"register": {"seed": 10**30}}, "register.seed = 1000000"),
        ({"adapt": {"target": {"phantom": {"seed": 2**31}}}}, "adapt.target.phantom.seed = 2147483648"),
        ({"crop": {"size": (1025, 4, 4)}}, "crop.size = (1025, 4, 4): must have at most 1024 voxels an axis"),
        (
            {"train": {"patch_size": (1024, 1024, 1024)}},
            "train.patch_size = (1024, 1024, 1024): must have at most",
        ),
    ],
)
def test_what_a_library_or_a_card_would_refuse_hours_later_is_refused_now(
    sections: dict[str, Any], told: str
) -> None:
    assert any(line.startswith(told) for line in contradictions(changed(**sections)))


def test_bounds_are_those_of_a_model_s_card() -> None:
    assert (consistency.MAX_SIZE, consistency.MAX_VOXELS) == (card.MAX_SIZE, card.MAX_VOXELS)


def test_a_network_that_is_trained_may_be_set() -> None:
    params = changed(network={"mednext": {"size": "b"}})
    assert without_effect(params.model_copy(update={"models": ["crossmodalnet", "mednext"]})) == []


@pytest.mark.parametrize(
    ("network", "ablations", "told"),
    [
        ({"cross": False}, ["no_cross"], ["no_cross is the same network as crossmodalnet"]),
        ({"cross": False}, ["no_deformable"], ["no_deformable is the same network as crossmodalnet"]),
        ({"swin": False}, ["no_cross", "conv_only"], ["conv_only is the same network as no_cross"]),
        ({"streams": "ct"}, ["no_cross", "ct_only", "mr_only"], ["no_cross is the", "ct_only is the"]),
        ({}, ["no_cross", "no_deformable", "conv_only", "ct_only", "mr_only", "standard_residual"], []),
    ],
)
def test_an_ablation_that_changes_nothing_is_refused(
    network: dict[str, Any], ablations: list[str], told: list[str]
) -> None:
    params = changed(network={"crossmodalnet": network}).model_copy(update={"ablations": ablations})
    lines = contradictions(params)
    assert len(lines) == len(told)
    for line, start in zip(lines, told, strict=True):
        assert line.startswith(f"ablations: {start}")
