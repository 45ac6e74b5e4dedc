"""Checks between sections: values without effect, and values that a stage would refuse."""

from typing import Any

import pytest

from crossmodalnet.networks.crossmodalnet.config import CrossModalNetConfig
from pipeline.config import presets
from pipeline.config.consistency import contradictions, padded_windows, wasteful_windows, without_effect
from pipeline.config.params import Params


def changed(**sections: Any) -> Params:
    return Params.model_validate(presets.merge(Params().model_dump(), sections))


@pytest.mark.parametrize("name", presets.names())
def test_presets_are_consistent(name: str) -> None:
    params = presets.load(name)
    assert without_effect(params) == contradictions(params) == []


@pytest.mark.parametrize(
    ("sections", "start"),
    [
        ({"network": {"mednext": {"size": "b"}}}, "network.mednext is set, but mednext is in neither models"),
        ({"train": {"seconds": 60.0}}, "train.seconds is set, but train.budget is epochs"),
        ({"train": {"budget": "seconds", "epochs": 3}}, "train.epochs is set, but train.budget is seconds"),
        (
            {"data": {"source": "mmwhs", "path": "/hearts", "phantom": {"num_labelled": 4}}},
            "data.phantom is set, but data.source is mmwhs",
        ),
        (
            {"adapt": {"enabled": True, "scenario": "ct_to_mr", "target": {"phantom": {"num_labelled": 7}}}},
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
            {"augment": {"enabled": False, "misregistration_probability": 0.5}},
            "augment is set, but augment.enabled is false",
        ),
    ],
)
def test_a_value_without_effect_is_named(sections: dict[str, Any], start: str) -> None:
    [line] = without_effect(changed(**sections))
    assert line.startswith(start)


@pytest.mark.parametrize(
    ("sections", "start"),
    [
        ({"seeds": [0, 2**31]}, "seeds = 2147483648: must be at most 2147483647"),
        ({"register": {"seed": 10**30}}, "register.seed = 1000000"),
        ({"data": {"phantom": {"seed": 2**31}}}, "data.phantom.seed = 2147483648"),
        ({"crop": {"size": (1025, 4, 4)}}, "crop.size = (1025, 4, 4): must have at most 1024 voxels an axis"),
        (
            {"train": {"patch_size": (1024, 1024, 1024)}},
            "train.patch_size = (1024, 1024, 1024): must have at most",
        ),
    ],
)
def test_values_beyond_bounds_are_refused(sections: dict[str, Any], start: str) -> None:
    assert any(line.startswith(start) for line in contradictions(changed(**sections)))


def test_a_network_that_is_trained_may_be_set() -> None:
    params = changed(network={"mednext": {"size": "b"}})
    assert without_effect(params.model_copy(update={"models": ["crossmodalnet", "mednext"]})) == []


@pytest.mark.parametrize(
    ("network", "ablations", "starts"),
    [
        ({"cross": False}, ["no_cross"], ["no_cross is the same network as crossmodalnet"]),
        ({"cross": False}, ["no_deformable"], ["no_deformable is the same network as crossmodalnet"]),
        ({"swin": False}, ["no_cross", "conv_only"], ["conv_only is the same network as no_cross"]),
        ({"streams": "ct"}, ["no_cross", "ct_only", "mr_only"], ["no_cross is the", "ct_only is the"]),
        ({}, ["no_cross", "no_deformable", "conv_only", "ct_only", "mr_only", "standard_residual"], []),
    ],
)
def test_an_ablation_that_changes_nothing_is_refused(
    network: dict[str, Any], ablations: list[str], starts: list[str]
) -> None:
    params = changed(network={"crossmodalnet": network}).model_copy(update={"ablations": ablations})
    lines = contradictions(params)
    assert len(lines) == len(starts)
    for line, start in zip(lines, starts, strict=True):
        assert line.startswith(f"ablations: {start}")


def test_contradictions_between_sections() -> None:
    params = changed(
        models=["crossmodalnet", "mednext", "unet", "unet"],
        seeds=[0, 0],
        ablations=["no_cross"],
        adapt={"enabled": True},
        losses={"cmif": 0.1},
        train={"batch_size": 3, "devices": 2, "patch_size": [40, 40, 41]},
    )
    text = "\n".join(contradictions(params))
    for part in (
        "models: no network 'unet'",
        "models: unet twice",
        "seeds: 0 twice",
        "losses.cmif and adapt.enabled",
        "models has mednext",
        "train.batch_size = 3",
        "width must be a multiple of 8",
    ):
        assert part in text
    assert "ablations are compared" in contradictions(changed(models=["mednext"], ablations=["no_cross"]))[0]
    assert "adaptations = ['volumes']" in contradictions(changed(adaptations=["volumes"]))[0]


@pytest.mark.parametrize(
    ("options", "patch", "starts"),
    [
        ({}, 40, []),
        (
            {"window": (4, 4, 4)},
            40,
            [
                "window [4, 4, 4] adds 73% to the [10, 10, 10] tokens of level 1; [5, 5, 5] adds 0%",
                "window [4, 4, 4] adds 310% to the [5, 5, 5] tokens of level 2; [5, 5, 5] adds 0%",
            ],
        ),
        ({"cross_window": ((4, 4, 4), None)}, 40, ["cross_window [4, 4, 4] adds 73%"]),
        (
            {"cross": False},
            88,
            [
                "window [6, 6, 6] adds 30% to the [22, 22, 22] tokens of level 1; no window of 4 to 7 adds less",
                "window [6, 6, 6] adds",
            ],
        ),
    ],
)
def test_padded_windows(options: dict[str, Any], patch: int, starts: list[str]) -> None:
    lines = padded_windows(CrossModalNetConfig(**options), (patch, patch, patch))
    assert len(lines) == len(starts)
    for (text, _), start in zip(lines, starts, strict=True):
        assert text.startswith(start)


def test_wasteful_windows_are_reported_with_their_key() -> None:
    given = changed(network={"crossmodalnet": {"window": [4, 4, 4]}})
    text, remedy = wasteful_windows(given)[0]
    assert text.startswith("network.crossmodalnet.window [4, 4, 4] adds 73%")
    assert remedy == "null chooses the window that adds least"
    assert wasteful_windows(given.model_copy(update={"models": ["mednext"]})) == []
    assert wasteful_windows(changed(train={"patch_size": [41, 41, 41]})) == []
