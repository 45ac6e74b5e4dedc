"""Values that do nothing are told, values that a stage would refuse are refused before the first one."""

from typing import Any

import pytest

from pipeline.schema import presets
from pipeline.schema.consistency import contradictions, without_effect
from pipeline.schema.schema import Params


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
    ],
)
def test_a_value_without_effect_is_named(sections: dict[str, Any], told: str) -> None:
    [line] = without_effect(changed(**sections))
    assert line.startswith(told)


def test_a_network_that_is_trained_may_be_set() -> None:
    params = changed(network={"mednext": {"size": "b"}})
    assert without_effect(params.model_copy(update={"models": ["crossmodalnet", "mednext"]})) == []
