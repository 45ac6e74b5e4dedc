from dataclasses import asdict, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from crossmodalnet.networks.crossmodalnet.config import CrossModalNetConfig
from pipeline.config.network import CrossModalNetSection


def config(**changes: Any) -> CrossModalNetConfig:
    return replace(CrossModalNetConfig(), **changes)


def test_windows_are_chosen_where_the_options_do_not_say():
    found = config(window=None, cross_window=None)
    assert found.window_at((10, 10, 5)) == (5, 5, 5)
    assert found.cross_window_at(0, (10, 12, 10)) == (5, 6, 5)
    assert found.cross_window_at(1, (5, 5, 5)) is None
    assert found.wasteful_windows((40, 40, 40)) == []


def test_given_windows_stay_and_wasteful_ones_are_named_with_what_would_divide():
    found = config(window=(4, 4, 4), cross_window=((5, 5, 5), None))
    assert found.window_at((10, 10, 10)) == (4, 4, 4)
    (fine, remedy), (coarse, _) = found.wasteful_windows((40, 40, 40))
    assert remedy == "null chooses a window that divides the map"
    assert fine == "window [4, 4, 4] adds 73% to the [10, 10, 10] tokens of level 1; [5, 5, 5] adds 0%"
    assert coarse == "window [4, 4, 4] adds 310% to the [5, 5, 5] tokens of level 2; [5, 5, 5] adds 0%"


def test_where_no_window_divides_the_patch_is_named_and_not_the_window():
    fine, coarse = config(cross=False).wasteful_windows((88, 88, 88))
    told = "window [6, 6, 6] adds 30% to the [22, 22, 22] tokens of level 1; no window of 4 to 7 adds less"
    assert fine.text == told
    assert fine.remedy.startswith("choose another train.patch_size")
    assert "[11, 11, 11] tokens of level 2" in coarse.text
    given = config(window=(4, 4, 4), cross=False).wasteful_windows((72, 72, 72))
    assert [text.split("; ")[1] for text, _ in given] == [
        "[6, 6, 6] adds 0%", "[5, 5, 5] adds 37%"
    ]  # fmt: skip
    assert given[1].remedy == "null chooses the window that adds least"


@pytest.mark.parametrize("embedding", [(0, 4, 4), (-4, 4, 4)])
def test_tokens_have_a_size(embedding):
    with pytest.raises(ValueError, match="patch_embedding must be positive"):
        config(patch_embedding=embedding)


@pytest.mark.parametrize(
    ("depths", "expected"), [((1,), [0.4]), ((1, 1), [0.0, 0.4]), ((1, 1, 1), [0.0, 0.2, 0.4])]
)
def test_drop_path_rises_to_the_deepest_level(depths, expected):
    found = config(depths=depths, heads=(4,) * len(depths), num_points=(2,) * len(depths), drop_path=0.4)
    assert [found.drop_path_at(level) for level in range(len(depths))] == expected


def test_windows_of_the_cross_attention_are_named_too():
    found = config(cross_window=((4, 4, 4), None))
    assert [text.split()[0] for text, _ in found.wasteful_windows((40, 40, 40))] == ["cross_window"]
    assert replace(found, cross=False).wasteful_windows((40, 40, 40)) == []


@pytest.mark.parametrize(
    ("stride", "channels", "expected"),
    [((4, 4, 4), (8, 24), (8, 24)), ((8, 8, 8), (8, 24), (8, 24, 24)), ((1, 1, 1), (8,), ())],
)
def test_finer_maps_have_the_channels_given_and_the_last_serves_further_ones(stride, channels, expected):
    assert config(patch_embedding=stride, stem_channels=channels).finer_channels == expected


def test_a_linear_stem_has_no_finer_maps():
    assert config(stem="linear").finer_channels == ()


def test_options_that_are_not_given_have_their_defaults():
    assert CrossModalNetConfig.from_mapping({}) == CrossModalNetConfig()
    assert CrossModalNetConfig.from_mapping({"joins": "linear"}) == CrossModalNetConfig(joins="linear")


def test_the_section_of_the_parameters_has_the_same_options_and_defaults():
    ours = asdict(CrossModalNetConfig())
    of_the_training = {"deep_supervision", "missing_token"}
    assert CrossModalNetSection().options() == {k: v for k, v in ours.items() if k not in of_the_training}


def test_a_stem_needs_channels():
    with pytest.raises(ValueError, match="stem_channels must have an entry"):
        config(stem_channels=())


def test_a_single_token_at_the_deepest_level_is_refused_where_it_would_be_normalised():
    with pytest.raises(ValueError, match="joins: conv needs two tokens at the deepest level"):
        config().check_size((8, 8, 8))
    config().check_size((8, 8, 16))
    config(joins="linear").check_size((8, 8, 8))


def test_the_parameters_offer_the_choices_of_the_options():
    choices = {
        name: set(get_args(kind))
        for name, kind in get_type_hints(CrossModalNetConfig).items()
        if get_origin(kind) is Literal
    }
    offered = {name: set(get_args(CrossModalNetSection.model_fields[name].annotation)) for name in choices}
    assert offered == choices
    assert {"streams", "values", "residual", "stem"} <= set(choices)
