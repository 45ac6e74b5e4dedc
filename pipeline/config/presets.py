"""Presets: named changes to the default parameters."""

from collections.abc import Mapping
from importlib import resources
from typing import Any

from ruamel.yaml import YAML

from crossmodalnet.errors import UsageError, did_you_mean
from pipeline.config.params import Params, validate

FOLDER = resources.files(__package__) / "preset_files"


def names() -> list[str]:
    """List the presets."""
    files = (entry.name for entry in FOLDER.iterdir())
    return sorted(["default", *(name.removesuffix(".yaml") for name in files if name.endswith(".yaml"))])


def load(name: str) -> Params:
    """Return all parameters of a preset; raise UsageError if it does not exist."""
    if name not in names():
        raise UsageError(f"no preset {name!r}; {did_you_mean(name, names())}there are {', '.join(names())}")
    if name == "default":
        return Params()
    changes = YAML(typ="safe", pure=True).load((FOLDER / f"{name}.yaml").read_text("utf-8"))
    return validate(Params, merge(Params().model_dump(), changes), "", f"preset {name}")


def with_own_data(params: Params, raw: Mapping[str, Any]) -> tuple[Params, list[str]]:
    """Keep the data of the user's valid params.yaml, `raw`, unless it is the phantom; return what was kept too."""
    kept: dict[str, Any] = {}
    if raw.get("data") and raw["data"].get("source", "phantom") != "phantom":
        kept["data"] = raw["data"]
    target = (raw.get("adapt") or {}).get("target") or {}
    values = params.model_dump() | kept
    if target.get("path") or target.get("urls"):
        kept["adapt.target"] = target
        values["adapt"] = values["adapt"] | {"target": target}
    return validate(Params, values, ""), list(kept)


def rendered() -> dict[str, dict[str, Any]]:
    """Return the parameters of every preset in the form of params.yaml."""
    return {name: load(name).model_dump(mode="json") for name in names()}


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge `changes` into `base` recursively."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged
