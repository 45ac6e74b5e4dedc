import pytest
from ruamel.yaml import YAML

from pipeline.config import presets
from pipeline.config.consistency import contradictions, wasteful_windows, without_effect
from pipeline.config.params import Params


def changed(text: str) -> Params:
    """Read parameters as a user writes them; the others have their defaults."""
    sections = YAML(typ="safe", pure=True).load(text)
    return Params.model_validate(presets.merge(Params().model_dump(), sections))


@pytest.mark.parametrize("name", presets.names())
def test_presets_are_consistent(name: str) -> None:
    params = presets.load(name)
    assert without_effect(params) == contradictions(params) == wasteful_windows(params) == []


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("network: {mednext: {size: b}}", "network.mednext is set, but mednext is in neither models"),
        ("train: {seconds: 60.0}", "train.seconds is set, but train.budget is epochs"),
        ("train: {budget: seconds, epochs: 3}", "train.epochs is set, but train.budget is seconds"),
        ("data: {source: mmwhs, path: /hearts, phantom: {num_labelled: 4}}",
         "data.phantom is set, but data.source is mmwhs"),
        ("adapt: {enabled: true, scenario: ct_to_mr, target: {phantom: {num_labelled: 7}}}",
         "adapt.target is set, but adapt.scenario is ct_to_mr"),
        ("adapt: {target: {source: unlabelled}}", "adapt.target is set, but adapt.enabled is false"),
        ("network: {crossmodalnet: {cross: false, cross_scale: 0.5}}",
         "network.crossmodalnet.cross_scale is set, but cross is false: it changes nothing"),
        ("network: {crossmodalnet: {deformable: false, offset_lr_factor: 0.5}}",
         "network.crossmodalnet.offset_lr_factor is set, but deformable is false"),
        ("network: {crossmodalnet: {stem: linear, stem_channels: [4]}}",
         "network.crossmodalnet.stem_channels is set, but stem is linear"),
        ("{adapt: {enabled: true}, train: {modality_dropout: 0.2}}",
         "train.modality_dropout is set, but adapt.enabled is true"),
        ("{network: {crossmodalnet: {streams: ct}}, train: {modality_dropout: 0.2}}",
         "train.modality_dropout is set, but network.crossmodalnet.streams is ct"),
        ("augment: {enabled: false, misregistration_probability: 0.5}",
         "augment is set, but augment.enabled is false"),
    ],
)  # fmt: skip
def test_a_value_without_effect_is_named(text: str, start: str) -> None:
    [line] = without_effect(changed(text))
    assert line.startswith(start)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (
            "{network: {crossmodalnet: {align: true}}, losses: {cmif: 0.1}}",
            "network.crossmodalnet.align and losses.cmif exclude each other",
        ),
        (
            "{network: {crossmodalnet: {align: true}}, adapt: {enabled: true}}",
            "network.crossmodalnet.align and adapt.enabled exclude each other",
        ),
        ("seeds: [0, 2147483648]", "seeds = 2147483648: must be at most 2147483647"),
        (f"register: {{seed: {10**30}}}", "register.seed = 1000000"),
        ("data: {phantom: {seed: 2147483648}}", "data.phantom.seed = 2147483648"),
        ("crop: {size: [1025, 4, 4]}", "crop.size = (1025, 4, 4): must have at most 1024 voxels an axis"),
        ("train: {patch_size: [1024, 1024, 1024]}", "train.patch_size = (1024, 1024, 1024): must have"),
        ("models: [no_such_network]", "models: no network 'no_such_network'"),
        ("models: [mednext, mednext]", "models: mednext twice"),
        ("seeds: [0, 0]", "seeds: 0 twice"),
        ("{adapt: {enabled: true}, losses: {cmif: 0.1}}", "losses.cmif and adapt.enabled"),
        ("{adapt: {enabled: true}, models: [crossmodalnet, mednext]}", "models has mednext"),
        ("train: {batch_size: 3, devices: 2}", "train.batch_size = 3"),
        ("train: {patch_size: [40, 40, 41]}", "width must be a multiple of 8"),
        ("{models: [mednext], ablations: [no_cross]}", "ablations are compared"),
        ("adaptations: [volumes]", "adaptations = ['volumes']"),
    ],
)
def test_values_that_a_stage_would_refuse_are_found(text: str, part: str) -> None:
    assert any(part in line for line in contradictions(changed(text)))


def test_a_network_that_is_trained_may_be_set() -> None:
    assert without_effect(changed("{models: [crossmodalnet, mednext], network: {mednext: {size: b}}}")) == []


@pytest.mark.parametrize(
    ("network", "ablations", "starts"),
    [
        ("cross: false", "no_cross", ["no_cross is the same network as crossmodalnet"]),
        ("cross: false", "no_deformable", ["no_deformable is the same network as crossmodalnet"]),
        ("swin: false", "no_cross, conv_only", ["conv_only is the same network as no_cross"]),
        ("streams: ct", "no_cross, ct_only, mr_only", ["no_cross is the", "ct_only is the"]),
        ("", "no_cross, no_deformable, conv_only, ct_only, mr_only, standard_residual", []),
    ],
)
def test_an_ablation_that_changes_nothing_is_refused(network: str, ablations: str, starts: list[str]) -> None:
    params = changed(f"{{network: {{crossmodalnet: {{{network}}}}}, ablations: [{ablations}]}}")
    lines = contradictions(params)
    assert len(lines) == len(starts)
    for line, start in zip(lines, starts, strict=True):
        assert line.startswith(f"ablations: {start}")


WASTEFUL = "network: {crossmodalnet: {window: [4, 4, 4]}}"


@pytest.mark.parametrize(
    ("text", "starts"),
    [
        ("{}", []),
        (WASTEFUL, ["window [4, 4, 4] adds 73% to the [10, 10, 10] tokens of level 1; [5, 5, 5] adds 0%",
                    "window [4, 4, 4] adds 310% to the [5, 5, 5] tokens of level 2; [5, 5, 5] adds 0%"]),
        ("network: {crossmodalnet: {cross_window: [[4, 4, 4], null]}}", ["cross_window [4, 4, 4] adds 73%"]),
        ("{network: {crossmodalnet: {cross: false}}, train: {patch_size: [88, 88, 88]}}",
         ["window [6, 6, 6] adds 30% to the [22, 22, 22] tokens of level 1; no window of 4 to 7 adds less",
          "window [6, 6, 6] adds"]),
        ("train: {patch_size: [41, 41, 41]}", []),
        (f"{{models: [mednext], {WASTEFUL}}}", []),
    ],
)  # fmt: skip
def test_wasteful_windows_are_reported_with_their_key(text: str, starts: list[str]) -> None:
    lines = [line for line, _ in wasteful_windows(changed(text))]
    assert len(lines) == len(starts)
    for line, start in zip(lines, starts, strict=True):
        assert line.startswith(f"network.crossmodalnet.{start}")


def test_remedy_of_a_wasteful_window() -> None:
    assert wasteful_windows(changed(WASTEFUL))[0][1] == "null chooses the window that adds least"
