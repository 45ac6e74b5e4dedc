import pytest

from crossmodalnet.networks.crossmodalnet.config import CrossModalNetConfig


def test_windows_are_chosen_where_the_options_do_not_say():
    found = CrossModalNetConfig(window=None, cross_window=None)
    assert found.window_at((10, 10, 5)) == (5, 5, 5)
    assert found.cross_window_at(0, (10, 12, 10)) == (5, 6, 5)
    assert found.cross_window_at(1, (5, 5, 5)) is None
    assert CrossModalNetConfig(window=(4, 4, 4)).window_at((10, 10, 10)) == (4, 4, 4)


@pytest.mark.parametrize(
    ("stride", "channels", "expected"),
    [((4, 4, 4), (8, 24), (8, 24)), ((8, 8, 8), (8, 24), (8, 24, 24)), ((1, 1, 1), (8,), ())],
)
def test_finer_maps_have_the_channels_given_and_the_last_serves_further_ones(stride, channels, expected):
    assert CrossModalNetConfig(patch_embedding=stride, stem_channels=channels).finer_channels == expected


def test_a_linear_stem_has_no_finer_maps():
    assert CrossModalNetConfig(stem="linear").finer_channels == ()


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
    ],
)
def test_impossible_options_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        CrossModalNetConfig(**values)


def test_default_is_the_letter_of_the_paper():
    paper = {"cross": True, "deformable": True, "values": "b", "similarity": "dot", "offsets": "static",
             "residual": "paper", "refines": "keys"}  # fmt: skip
    assert CrossModalNetConfig().model_dump().items() >= paper.items()


def test_a_single_token_at_the_deepest_level_is_refused_where_it_would_be_normalised():
    with pytest.raises(ValueError, match="transitions: conv needs two tokens at the deepest level"):
        CrossModalNetConfig().check_size((8, 8, 8))
    CrossModalNetConfig().check_size((8, 8, 16))
    CrossModalNetConfig(transitions="linear").check_size((8, 8, 8))
    one_level = {"depths": (1,), "heads": (1,), "num_points": (1,)}
    with pytest.raises(ValueError, match="stem: conv needs two tokens at the deepest level"):
        CrossModalNetConfig(**one_level).check_size((4, 4, 4))
    CrossModalNetConfig(**one_level, stem="linear").check_size((4, 4, 4))
