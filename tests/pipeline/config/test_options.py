"""Options of the library and the sections made from them: the same names, defaults, bounds and descriptions."""

from dataclasses import MISSING, fields
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from crossmodalnet.networks.crossmodalnet.config import CrossModalNetConfig
from crossmodalnet.training.adaptation.config import AdaptationSettings
from crossmodalnet.training.config import AugmentationSettings
from pipeline.config.network import CrossModalNetSection
from pipeline.config.sections import AdaptationConfig, AugmentConfig

# What a training decides of the network, and not its section.
OF_THE_TRAINING = {"deep_supervision", "missing_token"}
SECTIONS: list[tuple[type, type[BaseModel]]] = [
    (CrossModalNetConfig, CrossModalNetSection),
    (AdaptationSettings, AdaptationConfig),
    (AugmentationSettings, AugmentConfig),
]


@pytest.mark.parametrize(("settings", "section"), SECTIONS)
def test_every_option_is_in_its_section_as_the_library_has_it(
    settings: Any, section: type[BaseModel]
) -> None:
    made = section()
    for field in fields(settings):
        assert field.default is not MISSING, field.name
        assert field.metadata["description"]
        if field.name in OF_THE_TRAINING:
            continue
        assert getattr(made, field.name) == field.default
        assert section.model_fields[field.name].description == field.metadata["description"]


@pytest.mark.parametrize(("settings", "section"), SECTIONS)
def test_bounds_of_the_library_hold_in_the_section(settings: Any, section: type[BaseModel]) -> None:
    tried = 0
    for field in fields(settings):
        for bound, step in (("ge", -1), ("gt", 0), ("le", 1), ("lt", 0)):
            if bound in field.metadata:
                beyond = type(field.default)(field.metadata[bound] + step)
                with pytest.raises(ValidationError, match=field.name):
                    section.model_validate({field.name: beyond})
                tried += 1
    assert tried > 3
