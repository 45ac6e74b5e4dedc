"""Checks between the sections of params.yaml, before the first stage runs."""

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

from crossmodalnet.networks.common.sizes import (
    LARGEST_WINDOW,
    MAX_SIZE,
    MAX_VOXELS,
    SMALLEST_WINDOW,
    Triple,
    dividing_window,
    padding_share,
)
from crossmodalnet.networks.crossmodalnet.config import CrossModalNetConfig
from pipeline.config.network import NETWORKS
from pipeline.config.params import Params
from pipeline.config.variants import ABLATIONS, OURS

# ANTs reads its seed as a 32-bit integer.
MAX_SEED = 2**31 - 1
# Share of padding tokens above which a window is wasteful.
WASTE = 0.1


def contradictions(params: Params) -> list[str]:
    """List values that a later stage would reject, one line each with keys and values."""
    lines = []
    for key, models in (("models", params.models), ("tune.models", params.tune.models)):
        lines += [
            f"{key}: no network {name!r}; there are {', '.join(NETWORKS)}" for name in models if name not in NETWORKS
        ]
    for key in ("models", "seeds", "ablations", "adaptations"):
        values = getattr(params, key)
        if twice := sorted({str(value) for value in values if values.count(value) > 1}):
            lines.append(f"{key}: {', '.join(twice)} twice")
    lines += _beyond_bounds(params)
    lines += _adaptation(params)
    if params.ablations and OURS not in params.models:
        lines.append(f"ablations are compared with {OURS}: add it to models, or set ablations to []")
    devices, batch = params.train.devices, params.train.batch_size
    if isinstance(devices, int) and batch % devices:
        lines.append(f"train.batch_size = {batch} cannot be shared equally by train.devices = {devices}")
    if OURS in params.models:
        try:
            params.network.crossmodalnet.check_size(params.train.patch_size)
        except ValueError as error:
            lines.append(f"network.{OURS} with train.patch_size {params.train.patch_size}: {error}")
        else:
            lines += _idle_ablations(params)
        if params.network.crossmodalnet.align and (params.losses.cmif or params.adapt.enabled):
            other = "losses.cmif" if params.losses.cmif else "adapt.enabled"
            lines.append(f"network.{OURS}.align and {other} exclude each other: set one of them to false or 0")
    return lines


def _idle_ablations(params: Params) -> list[str]:
    """List ablations that equal the network itself or an earlier ablation."""
    network = params.network.crossmodalnet
    seen = {OURS: _effective(network)}
    lines = []
    for name in params.ablations:
        options = _effective(network.model_copy(update=dict(ABLATIONS[name].changes)))
        if same := next((other for other, earlier in seen.items() if earlier == options), None):
            lines.append(f"ablations: {name} is the same network as {same}, by section network.{OURS}: take it out")
        seen.setdefault(name, options)
    return lines


def _effective(network: CrossModalNetConfig) -> dict[str, Any]:
    idle = network.without_effect()
    return {key: value for key, value in network.options().items() if key not in idle}


def _beyond_bounds(params: Params) -> list[str]:
    """List seeds above 32 bits and grids larger than a model card allows."""
    seeds = [("seeds", seed) for seed in params.seeds] + list(_seeds(params.model_dump()))
    lines = [f"{key} = {seed}: must be at most {MAX_SEED}" for key, seed in seeds if seed > MAX_SEED]
    for key, size in (("crop.size", params.crop.size), ("train.patch_size", params.train.patch_size)):
        if max(size) > MAX_SIZE or prod(size) > MAX_VOXELS:
            lines.append(f"{key} = {size}: must have at most {MAX_SIZE} voxels an axis and {MAX_VOXELS} in all")
    return lines


def _seeds(sections: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, int]]:
    for name, value in sections.items():
        if name == "seed":
            yield above + name, value
        elif isinstance(value, Mapping):
            yield from _seeds(value, f"{above}{name}.")


def _adaptation(params: Params) -> list[str]:
    if not params.adapt.enabled:
        if params.adaptations:
            return [
                f"adaptations = {params.adaptations} have no effect while adapt.enabled is false: set it, or "
                "adaptations to []"
            ]
        return []
    lines = []
    if params.losses.cmif:
        lines.append("losses.cmif and adapt.enabled exclude each other: set one of them to 0 or false")
    if others := [name for name in params.models if name != OURS]:
        lines.append(f"adapt.enabled: only {OURS} has the features that are aligned, models has {', '.join(others)}")
    if params.data.missing:
        lines.append("adapt.enabled aligns every structure, but data.missing is not empty: set adapt.enabled to false")
    return lines


def without_effect(params: Params) -> list[str]:
    """List changed values that other values switch off; these only cause warnings."""
    adapt, standard = params.adapt, Params()
    lines = []
    trained = {*params.models, *params.tune.models}
    for name in NETWORKS:
        if name not in trained and getattr(params.network, name) != getattr(standard.network, name):
            lines.append(f"network.{name} is set, but {name} is in neither models nor tune.models: it is not trained")
    if OURS in trained:
        lines += _idle_options(params.network.crossmodalnet, standard.network.crossmodalnet)
    if params.train.modality_dropout:
        if adapt.enabled:
            lines.append("train.modality_dropout is set, but adapt.enabled is true: adaptations have none")
        elif OURS in trained and params.network.crossmodalnet.streams != "both":
            lines.append(
                f"train.modality_dropout is set, but network.{OURS}.streams is "
                f"{params.network.crossmodalnet.streams}: {OURS} has none"
            )
    if not params.augment.enabled and params.augment.model_copy(update={"enabled": True}) != standard.augment:
        lines.append("augment is set, but augment.enabled is false: nothing is augmented")
    if params.data.source != "phantom" and params.data.phantom != standard.data.phantom:
        lines.append(f"data.phantom is set, but data.source is {params.data.source}: no phantom is made")
    other = "seconds" if params.train.budget == "epochs" else "epochs"
    if getattr(params.train, other) != getattr(standard.train, other):
        lines.append(f"train.{other} is set, but train.budget is {params.train.budget}")
    if adapt.enabled and adapt.scenario != "cohort" and adapt.target != standard.adapt.target:
        lines.append(f"adapt.target is set, but adapt.scenario is {adapt.scenario}: its target is the cohort itself")
    if not adapt.enabled and (adapt.target.path or adapt.target.urls or adapt.target.source != "phantom"):
        lines.append("adapt.target is set, but adapt.enabled is false: nothing is adapted")
    if params.tune.models and not set(params.tune.models) & set(params.models):
        lines.append("tune.models has no network of models: the rates that are found are not used")
    return lines


def _idle_options(network: CrossModalNetConfig, standard: CrossModalNetConfig) -> list[str]:
    idle = network.without_effect()
    because = ", ".join(
        f"{key} is {str(getattr(network, key)).lower()}"
        for key in ("streams", "cross", "deformable", "swin", "stem")
        if key not in idle and getattr(network, key) != getattr(standard, key)
    )
    return [
        f"network.{OURS}.{key} is set, but {because}: it changes nothing"
        for key in sorted(idle)
        if getattr(network, key) != getattr(standard, key)
    ]


def wasteful_windows(params: Params) -> list[tuple[str, str]]:
    """List the wasteful windows of CrossModalNet with remedies; none if it is not trained."""
    config = params.network.crossmodalnet
    if OURS not in params.models:
        return []
    try:
        config.check_size(params.train.patch_size)
    except ValueError:
        return []  # reported by `contradictions`
    windows = padded_windows(config, params.train.patch_size)
    return [(f"network.{OURS}.{text}", remedy) for text, remedy in windows]


def padded_windows(config: CrossModalNetConfig, patch_size: Triple) -> list[tuple[str, str]]:
    """List windows that pad a feature map by more than 10 % of its tokens, with remedies."""
    lines = []
    for level in range(config.num_levels):
        size = config.map_size(patch_size, level)
        windows = {"window": config.window_at(size)}
        if config.crosses and (cross := config.cross_window_at(level, size)):
            windows["cross_window"] = cross
        best = dividing_window(size)
        least = padding_share(size, best)
        for name, window in windows.items():
            share = padding_share(size, window)
            if share <= WASTE:
                continue
            text = f"{name} {list(window)} adds {share:.0%} to the {list(size)} tokens of level {level + 1}"
            if share == least:
                better = f"no window of {SMALLEST_WINDOW} to {LARGEST_WINDOW} adds less"
                remedy = "choose another train.patch_size; `crossmodalnet params fit` finds one that windows divide"
            else:
                better = f"{list(best)} adds {least:.0%}"
                remedy = "null chooses the window that adds least"
            lines.append((f"{text}; {better}", remedy))
    return lines
