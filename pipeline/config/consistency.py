"""Checks between the sections of params.yaml."""

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

from crossmodalnet.networks.crossmodalnet.config import CrossModalNetConfig, WastefulWindow
from pipeline.config.network import NETWORKS, CrossModalNetSection
from pipeline.config.params import Params
from pipeline.config.variants import ABLATIONS, OURS

# ANTs reads its seed as an integer of 32 bits.
MAX_SEED = 2**31 - 1
# Of a model's card, which refuses more; that module needs PyTorch, which is not loaded for a check.
MAX_SIZE, MAX_VOXELS = 1024, 512**3


def contradictions(params: Params) -> list[str]:
    """List values that a stage would refuse hours later, a line each that names keys and values."""
    found = []
    for key, models in (("models", params.models), ("tune.models", params.tune.models)):
        found += [
            f"{key}: no network {name!r}; there are {', '.join(NETWORKS)}"
            for name in models
            if name not in NETWORKS
        ]
        if twice := sorted({name for name in models if models.count(name) > 1}):
            found.append(f"{key}: {', '.join(twice)} twice")
    for key, values in (
        ("seeds", params.seeds), ("ablations", params.ablations), ("adaptations", params.adaptations),
    ):  # fmt: skip
        if len(set(values)) < len(values):
            found.append(f"{key}: a value twice")
    found += _beyond_bounds(params)
    found += _adaptation(params)
    if params.ablations and OURS not in params.models:
        found.append(f"ablations are compared with {OURS}: add it to models, or set ablations to []")
    devices, batch = params.train.devices, params.train.batch_size
    if isinstance(devices, int) and batch % devices:
        found.append(f"train.batch_size = {batch} cannot be shared equally by train.devices = {devices}")
    if OURS in params.models:
        try:
            config = CrossModalNetConfig.from_mapping(params.network.crossmodalnet.options())
            config.check_size(params.train.patch_size)
        except ValueError as error:
            found.append(f"network.{OURS} with train.patch_size {params.train.patch_size}: {error}")
        else:
            found += _idle_ablations(params)
    return found


def _idle_ablations(params: Params) -> list[str]:
    """Ablations that train the network itself, or one another's network, over again."""
    network = params.network.crossmodalnet
    seen = {OURS: _effective(network)}
    found = []
    for name in params.ablations:
        options = _effective(network.model_copy(update=dict(ABLATIONS[name])))
        if same := next((other for other, known in seen.items() if known == options), None):
            found.append(
                f"ablations: {name} is the same network as {same}, by section network.{OURS}: take it out"
            )
        seen.setdefault(name, options)
    return found


def _effective(network: CrossModalNetSection) -> dict[str, Any]:
    options = network.options()
    idle = CrossModalNetConfig.from_mapping(options).without_effect()
    return {key: value for key, value in options.items() if key not in idle}


def _beyond_bounds(params: Params) -> list[str]:
    """Seeds that a library cannot take, and grids that no model's card may have."""
    seeds = [("seeds", seed) for seed in params.seeds] + list(_seeds(params.model_dump()))
    found = [f"{key} = {seed}: must be at most {MAX_SEED}" for key, seed in seeds if seed > MAX_SEED]
    for key, size in (("crop.size", params.crop.size), ("train.patch_size", params.train.patch_size)):
        if max(size) > MAX_SIZE or prod(size) > MAX_VOXELS:
            found.append(
                f"{key} = {size}: must have at most {MAX_SIZE} voxels an axis and {MAX_VOXELS} in all"
            )
    return found


def _seeds(sections: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, int]]:
    for name, value in sections.items():
        if name == "seed":
            yield above + name, value
        elif isinstance(value, Mapping):
            yield from _seeds(value, f"{above}{name}.")


def _adaptation(params: Params) -> list[str]:
    found = []
    adapt = params.adapt
    if params.adaptations and not adapt.enabled:
        found.append(
            f"adaptations = {params.adaptations} have no effect while adapt.enabled is false: set it, or adaptations "
            "to []"
        )
    if adapt.enabled and params.losses.cmif:
        found.append("losses.cmif and adapt.enabled cannot be had together: set one of them to 0 or false")
    if adapt.enabled and (others := [name for name in params.models if name != OURS]):
        found.append(
            f"adapt.enabled: only {OURS} has the features that are aligned, models has {', '.join(others)}"
        )
    if adapt.enabled and params.data.missing:
        found.append(
            "adapt.enabled aligns every structure, but data.missing is not empty: set adapt.enabled to false"
        )
    return found


def without_effect(params: Params) -> list[str]:
    """Name values that were changed and do nothing as the others stand: allowed, since a switch turns them off."""
    adapt = params.adapt
    found = []
    standard = Params()
    trained = {*params.models, *params.tune.models}
    for name in NETWORKS:
        if name not in trained and getattr(params.network, name) != getattr(standard.network, name):
            found.append(
                f"network.{name} is set, but {name} is in neither models nor tune.models: it is not trained"
            )
    if OURS in trained:
        found += _idle_options(params.network.crossmodalnet, standard.network.crossmodalnet)
    if params.train.modality_dropout:
        if adapt.enabled:
            found.append("train.modality_dropout is set, but adapt.enabled is true: adaptations have none")
        elif OURS in trained and params.network.crossmodalnet.streams != "both":
            found.append(
                f"train.modality_dropout is set, but network.{OURS}.streams is "
                f"{params.network.crossmodalnet.streams}: {OURS} has none"
            )
    if not params.augment.enabled and params.augment.model_copy(update={"enabled": True}) != standard.augment:
        found.append("augment is set, but augment.enabled is false: nothing is augmented")
    if params.data.source != "phantom" and params.data.phantom != standard.data.phantom:
        found.append(f"data.phantom is set, but data.source is {params.data.source}: no phantom is made")
    other = "seconds" if params.train.budget == "epochs" else "epochs"
    if getattr(params.train, other) != getattr(standard.train, other):
        found.append(f"train.{other} is set, but train.budget is {params.train.budget}")
    if adapt.enabled and adapt.scenario != "cohort" and adapt.target != standard.adapt.target:
        found.append(
            f"adapt.target is set, but adapt.scenario is {adapt.scenario}: its target is the cohort itself"
        )
    if not adapt.enabled and (adapt.target.path or adapt.target.urls or adapt.target.source != "phantom"):
        found.append("adapt.target is set, but adapt.enabled is false: nothing is adapted")
    if params.tune.models and params.tune.learning_rates and not set(params.tune.models) & set(params.models):
        found.append("tune.models has no network of models: the rates that are found are not used")
    return found


def _idle_options(network: CrossModalNetSection, standard: CrossModalNetSection) -> list[str]:
    try:
        config = CrossModalNetConfig.from_mapping(network.options())
    except ValueError:
        return []  # a contradiction, which is told as such
    idle = set(config.without_effect())
    if not (config.crosses and config.deformable):
        idle.add("offset_lr_factor")
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


def wasteful_windows(params: Params) -> list[WastefulWindow]:
    """Name the windows of our network that pad a map by more than a tenth; none where it is not trained.

    Options that the network cannot be built from are the business of the training, which says what is wrong.
    """
    if OURS not in params.models:
        return []
    try:
        config = CrossModalNetConfig.from_mapping(params.network.crossmodalnet.options())
        config.check_size(params.train.patch_size)
    except ValueError:
        return []
    found = config.wasteful_windows(params.train.patch_size)
    return [WastefulWindow(f"network.{OURS}.{text}", remedy) for text, remedy in found]
