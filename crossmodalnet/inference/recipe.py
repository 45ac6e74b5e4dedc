"""All between a scan and the network's input, and back: what a model folder says beside its card."""

import json
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from crossmodalnet.networks.common.sizes import MAX_SIZE, MAX_VOXELS
from crossmodalnet.registration.align import AlignSettings

RECIPE = "recipe.json"
# Raised when a recipe of an earlier version would be read wrongly.
VERSION = 2
MAX_BYTES = 2**20


@dataclass(frozen=True)
class Recipe:
    """How a new patient's scans are prepared and restored, as those of the training were.

    Attributes:
        align: registration of the MR to the CT.
        size: voxels of the working grid along world x, y, z.
        spacing_mm: isotropic spacing of the working grid.
        margin_mm: margin of the heart box that should fit into the grid.
        atlas_spacing_mm: spacing of the atlas registration that finds the heart.
        overlap: share of a patch that neighbouring windows have in common.
        atlas_likeness: mutual information that the atlases have with one another at least, nats; None without two.
        keep_largest_component: whether smaller pieces of a structure are removed.
        version: version of this form.
    """

    align: AlignSettings
    size: tuple[int, int, int]
    spacing_mm: float
    margin_mm: float
    atlas_spacing_mm: float
    atlas_likeness: float | None
    overlap: float
    keep_largest_component: bool
    version: int = VERSION


def recipe_json(recipe: Recipe) -> dict[str, object]:
    """Turn a recipe into what JSON can hold."""
    return asdict(recipe)


def read_recipe(folder: Path) -> Recipe:
    """Read the recipe of a model folder.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is not a recipe, or one of another version; names the file.
    """
    path = folder / RECIPE
    if not path.is_file():
        raise FileNotFoundError(2, "not found", str(path))
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} is not a recipe: it has more than {MAX_BYTES} bytes")
    try:
        content = json.loads(path.read_text("utf-8"))
        found = content.get("version") if isinstance(content, dict) else None
        if found != VERSION:
            raise ValueError(
                f"{path} is of version {found}, this crossmodalnet reads version {VERSION}: export the model again"
            )
        recipe = TypeAdapter(Recipe).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{path} is not a recipe: {place}: {first['msg']}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    _check_bounds(path, recipe)
    return recipe


def _check_bounds(path: Path, recipe: Recipe) -> None:
    """Refuse numbers that no recipe has, and that would take memory or time without end."""
    impossible = min(recipe.size) < 1 or max(recipe.size) > MAX_SIZE or prod(recipe.size) > MAX_VOXELS
    if impossible or not 0 < recipe.spacing_mm <= 10:
        raise ValueError(f"{path}: size {recipe.size} at {recipe.spacing_mm} mm is no working grid")
    for name, value, low, high in (
        ("align.working_spacing_mm", recipe.align.working_spacing_mm, 0.5, 20),
        ("atlas_spacing_mm", recipe.atlas_spacing_mm, 0.5, 20),
        ("margin_mm", recipe.margin_mm, 0, 200),
        ("overlap", recipe.overlap, 0, 0.95),
    ):
        if not low <= value <= high:
            raise ValueError(f"{path}: {name} must be from {low} to {high}, got {value}")
