import json
from pathlib import Path
from typing import Any

import pytest

from crossmodalnet.inference.recipe import RECIPE, Recipe, read_recipe, recipe_json
from crossmodalnet.registration.align import AlignSettings
from crossmodalnet.registration.ants import SynSettings

ALIGN = AlignSettings(
    SynSettings("SyN", (100, 50, 10), (40, 30, 15)), 5.0, ("search", "centre_of_mass"), 0.01, 3
)
WRITTEN = Recipe(ALIGN, (40, 44, 48), 3.5, 5.0, 5.0, 0.43, overlap=0.5, keep_largest_component=True)


def test_a_recipe_comes_back(tmp_path: Path) -> None:
    (tmp_path / RECIPE).write_text(json.dumps(recipe_json(WRITTEN)), "utf-8")
    assert read_recipe(tmp_path) == WRITTEN


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 1}, "is of version 1, this crossmodalnet reads version 2: export the model again"),
        ({"version": None}, "is of version None"),
        ({"spacing_mm": "wide"}, "is not a recipe: spacing_mm: Input should be a valid number"),
        ({"size": [40, 44]}, "is not a recipe: size.2: "),
        ({"size": [40, 44, 4000]}, "is no working grid"),
        ({"size": [1024, 1024, 1024]}, "is no working grid"),
        ({"overlap": 1.0}, "overlap must be from 0 to 0.95, got 1.0"),
        ({"atlas_spacing_mm": 1e-9}, "atlas_spacing_mm must be from 0.5 to 20, got 1e-09"),
        ({"align": {}}, "is not a recipe: align.syn: Field required"),
    ],
)
def test_what_is_no_recipe_of_ours_says_why_in_a_line(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    (tmp_path / RECIPE).write_text(json.dumps({**recipe_json(WRITTEN), **change}), "utf-8")
    with pytest.raises(ValueError, match=message) as raised:
        read_recipe(tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["", "[1]", "{"])
def test_a_damaged_or_missing_file_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(FileNotFoundError):
        read_recipe(tmp_path)
    (tmp_path / RECIPE).write_text(text, "utf-8")
    with pytest.raises(ValueError, match=r"recipe\.json is"):
        read_recipe(tmp_path)
