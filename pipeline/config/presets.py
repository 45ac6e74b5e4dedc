"""Named parameter sets: what differs from the defaults of the schema."""

from collections.abc import Mapping
from importlib import resources
from typing import Any

from ruamel.yaml import YAML

from crossmodalnet.errors import UsageError
from pipeline.config.params import Params, validate


def names() -> list[str]:
    """List the presets."""
    folder = resources.files("pipeline.config") / "preset_files"
    return sorted(
        ["default", *(p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith(".yaml"))]
    )


def load(name: str) -> Params:
    """Give the full parameters of a preset.

    Raises:
        UsageError: no such preset.
    """
    if name not in names():
        raise UsageError(f"no preset {name!r}; there are {', '.join(names())}")
    if name == "default":
        return Params()
    text = (resources.files("pipeline.config") / "preset_files" / f"{name}.yaml").read_text("utf-8")
    return validate(
        Params, merge(Params().model_dump(), YAML(typ="safe", pure=True).load(text)), "", _place(name)
    )


def rendered() -> dict[str, dict[str, Any]]:
    """Give the parameters of every preset, by its name, as params.yaml would hold them."""
    return {name: load(name).model_dump(mode="json") for name in names()}


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `changes` over `base`, section by section."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _place(name: str) -> Any:
    return f"preset {name}"
