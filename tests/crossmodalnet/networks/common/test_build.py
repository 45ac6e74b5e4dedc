import pytest
import torch
from pydantic import ValidationError

from crossmodalnet.networks.common.build import build_network
from crossmodalnet.networks.crossmodalnet.config import CrossModalNetConfig
from pipeline.config.network import CrossModalNetSection


def test_unknown_network_lists_the_choices():
    with pytest.raises(ValueError, match=r"one of .*crossmodalnet.*, got 'unet'"):
        build_network("unet", {}, patch_size=(16, 16, 16))


@pytest.mark.parametrize(
    ("patch_size", "message"),
    [((50, 48, 48), "depth must be a multiple of 8 .*got 50"), ((48, 4, 48), "height must be .* 8 .*got 4"),
     ((48, 48, 0), "width must be .*got 0"), ((48, 48), "3 axes")],
)  # fmt: skip
def test_patch_size_must_fit_the_strides(patch_size, message):
    with pytest.raises(ValueError, match=message):
        build_network("crossmodalnet", CrossModalNetSection().options(), patch_size=patch_size)


def test_each_axis_has_its_own_multiple():
    options = CrossModalNetSection(
        patch_embedding=(1, 2, 4), depths=(1, 1, 1), heads=(2, 4, 8), num_points=(1, 1, 1)
    ).options()
    with pytest.raises(ValueError, match=r"width must be a multiple of 16 .*got 24"):
        build_network("crossmodalnet", options, patch_size=(4, 8, 24))


@pytest.mark.parametrize(
    ("change", "message"),
    [({"heads": (2, 4, 8)}, "heads must have one entry per level .*2.* got 3"),
     ({"heads": (2, 5)}, r"heads\[1\] must divide the 96 .* got 5"),
     ({"channels": 20, "position": "sincos"}, "multiple of 6 .* got 20"),
     ({"num_points": (1,)}, "num_points must have"), ({"cross_window": (None,)}, "cross_window must have")],
)  # fmt: skip
def test_options_that_do_not_fit_together(change, message):
    with pytest.raises(ValueError, match=message):
        CrossModalNetConfig.from_mapping(CrossModalNetSection().options() | change)


def test_unknown_options_are_named():
    with pytest.raises(ValueError, match=r"chanels unknown; all: .*channels"):
        CrossModalNetConfig.from_mapping({"chanels": 1})


def test_a_network_is_built_from_what_differs_from_the_defaults():
    network = build_network("crossmodalnet", {"channels": 12, "heads": (1, 2)}, patch_size=(16, 16, 16))
    assert network(torch.zeros(1, 2, 16, 16, 16)).shape == (1, 8, 16, 16, 16)


def test_defaults_are_the_letter_of_the_paper():
    params = CrossModalNetSection()
    choices = (params.values, params.similarity, params.offsets, params.residual, params.refines)
    assert choices == ("b", "dot", "static", "paper", "keys")
    assert params.cross
    assert params.deformable


def test_every_option_is_described():
    assert all(field.description for field in CrossModalNetSection.model_fields.values())


def test_lists_from_yaml_are_read():
    params = CrossModalNetSection.model_validate(
        {"cross_window": [[4, 4, 4], [2, 2, 2], None], "heads": [1, 2, 4]}
    )
    assert params.cross_window == ((4, 4, 4), (2, 2, 2), None)
    with pytest.raises(ValidationError):
        CrossModalNetSection.model_validate({"window": [4, 4]})


def test_same_seed_same_weights():
    options = CrossModalNetSection().options()
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(build_network("crossmodalnet", options, patch_size=(16, 16, 16)).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_number_of_classes():
    options = CrossModalNetSection().options()
    network = build_network("crossmodalnet", options, patch_size=(16, 16, 16), num_classes=3)
    assert network(torch.zeros(1, 2, 16, 16, 16)).shape == (1, 3, 16, 16, 16)
