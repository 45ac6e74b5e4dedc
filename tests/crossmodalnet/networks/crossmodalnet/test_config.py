from typing import Any

import pytest

from crossmodalnet.networks.crossmodalnet.config import CrossModalNetConfig


def config(**changes: Any) -> CrossModalNetConfig:
    return CrossModalNetConfig(**changes)


def test_windows_are_chosen_where_the_options_do_not_say():
    found = config(window=None, cross_window=None)
    assert found.window_at((10, 10, 5)) == (5, 5, 5)
    assert found.cross_window_at(0, (10, 12, 10)) == (5, 6, 5)
    assert found.cross_window_at(1, (5, 5, 5)) is None
    assert config(window=(4, 4, 4)).window_at((10, 10, 10)) == (4, 4, 4)


@pytest.mark.parametrize(
    ("stride", "channels", "expected"),
    [((4, 4, 4), (8, 24), (8, 24)), ((8, 8, 8), (8, 24), (8, 24, 24)), ((1, 1, 1), (8,), ())],
)
def test_finer_maps_have_the_channels_given_and_the_last_serves_further_ones(stride, channels, expected):
    assert config(patch_embedding=stride, stem_channels=channels).finer_channels == expected


def test_a_linear_stem_has_no_finer_maps():
    assert config(stem="linear").finer_channels == ()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"heads": (2, 4, 8)}, "heads must have one entry per level .*2.* got 3"),
        ({"num_points": (1,)}, "num_points must have"),
        ({"cross_window": (None,)}, "cross_window must have"),
        ({"heads": (2, 5)}, r"heads\[1\] must divide the 96 .* got 5"),
        ({"channels": 20}, "channels must be a multiple of 6 for position: sincos, got 20"),
        ({"patch_embedding": (0, 4, 4)}, "patch_embedding"),
        ({"stem_channels": ()}, "stem_channels"),
        ({"window": (4, 4)}, "window"),
        ({"chanels": 1}, "chanels"),
    ],
)
def test_impossible_options_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**values)


def test_lists_from_yaml_are_read():
    options = {"cross_window": [[4, 4, 4], None], "heads": [1, 2]}
    assert config(**options).cross_window == ((4, 4, 4), None)


def test_default_is_the_letter_of_the_paper():
    default = config()
    assert default.cross
    assert default.deformable
    choices = (default.values, default.similarity, default.offsets, default.residual, default.refines)
    assert choices == ("b", "dot", "static", "paper", "keys")


def test_a_single_token_at_the_deepest_level_is_refused_where_it_would_be_normalised():
    with pytest.raises(ValueError, match="transitions: conv needs two tokens at the deepest level"):
        config().check_size((8, 8, 8))
    config().check_size((8, 8, 16))
    config(transitions="linear").check_size((8, 8, 8))
