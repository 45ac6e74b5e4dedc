"""Read the sections that define a network and its training."""

from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

from crossmodalnet.config import NetworkConfig
from crossmodalnet.errors import UsageError
from crossmodalnet.imaging.intensity import Intensity
from crossmodalnet.networks.common.build import DEEPLY_SUPERVISED
from crossmodalnet.networks.common.card import MAX_COHORT, PHANTOM
from crossmodalnet.training.config import AugmentationConfig
from pipeline.config.network import NETWORKS
from pipeline.config.params import load_section
from pipeline.config.sections import AdaptSection, DataConfig, LossesConfig, TrainConfig
from pipeline.config.variants import ABLATIONS, ADAPTATIONS, OURS, method_of


@dataclass(frozen=True)
class ModelParams:
    """The sections that a training depends on; `variant` is a key of `ADAPTATIONS`, None for the full adaptation."""

    name: str
    builder: str
    network: NetworkConfig
    losses: LossesConfig
    augment: AugmentationConfig
    train: TrainConfig
    adapt: AdaptSection | None = None
    variant: str | None = None
    cohort: str | None = None  # whose scans these are, for the card

    @property
    def options(self) -> dict[str, Any]:
        """Options of the network's builder."""
        options = self.network.options() | {"checkpointing": self.train.checkpointing}
        if self.builder in DEEPLY_SUPERVISED:
            options["deep_supervision"] = self.losses.deep_supervision
        if self.builder == OURS and self.modality_dropout:
            options["missing_token"] = True
        return options

    @property
    def intensity(self) -> Intensity:
        """Intensity windows of the network's input."""
        return Intensity(self.train.ct_window_hu, self.train.mr_percentiles)

    @property
    def sees_pairs(self) -> bool:
        """True if the network uses both images of a pair."""
        return bool(self.network.options().get("streams", "both") == "both")

    @property
    def modality_dropout(self) -> float:
        """Probability that a training sample loses a modality; 0 for single streams and adaptations.

        A single stream would see no image. Target pairs are complete, so dropout would reveal the domain.
        """
        return self.train.modality_dropout if self.sees_pairs and self.adapt is None else 0.0

    @property
    def training(self) -> dict[str, Any]:
        """Return the values of `train` that change this network's result; checkpoint keys and cards use them."""
        return {
            **self.train.essential(),
            "modality_dropout": self.modality_dropout,
            "offset_lr_factor": self.network.offset_rate,
        }

    @property
    def augmentation(self) -> AugmentationConfig | None:
        """The augmentation, if any; networks of one stream, or that align the MR, see it in place.

        Misregistration is equal in both domains of an adaptation, so it does not reveal the domain.
        """
        if not self.augment.enabled:
            return None
        in_place = not self.sees_pairs or bool(self.options.get("align"))
        together = {"misregistration_probability": 0.0} if in_place else {}
        return self.augment.model_copy(update=together)


def read_params(model: str, ablation: str | None = None) -> ModelParams:
    """Read the sections that the training of `model`, or an ablation of crossmodalnet, depends on.

    Raises:
        UsageError: unknown model or ablation, or an invalid value.
    """
    if model not in NETWORKS:
        raise UsageError(f"no model {model!r}; there are {', '.join(NETWORKS)}")
    network, train = load_section(NETWORKS[model], "network", model), load_section(TrainConfig, "train")
    if ablation is not None:
        if model != "crossmodalnet" or ablation not in ABLATIONS:
            raise UsageError(f"no ablation {ablation!r} of {model}; crossmodalnet has {', '.join(ABLATIONS)}")
        network = network.model_copy(update=dict(ABLATIONS[ablation].changes))
    return ModelParams(
        model if ablation is None else f"{model}-{ablation}",
        model,
        network,
        load_section(LossesConfig, "losses"),
        load_section(AugmentationConfig, "augment"),
        train if network.lr is None else train.model_copy(update={"lr": network.lr}),
        cohort=_cohort_name(load_section(DataConfig, "data")),
    )


def _cohort_name(data: DataConfig) -> str:
    """Name a cohort by its source and the file or folder names that the user gave.

    `dvc.yaml` does not list the section: data that only moved train nothing anew.
    """
    paths = [data.path] if isinstance(data.path, str) else data.path or [archive.url for archive in data.urls]
    return f"{data.source}: {', '.join(PurePath(path).name for path in paths)}"[:MAX_COHORT] if paths else PHANTOM


def with_adaptation(params: ModelParams, variant: str | None) -> ModelParams:
    """Add the adaptation of section `adapt`, if it is on; `variant` is a key of `ADAPTATIONS`.

    Raises:
        UsageError: unknown variant, or adaptation is off.
    """
    adapt = load_section(AdaptSection, "adapt")
    if not adapt.enabled:
        if variant is not None:
            raise UsageError(f"adaptation {variant}: adapt.enabled is false; set it or empty `adaptations`")
        return params
    if params.losses.cmif:
        raise UsageError("losses.cmif and adapt.enabled cannot be had together: set one of them to 0 or false")
    if adapt.scenario == "cohort" and adapt.target.source == "mmwhs":
        cohort = f"{params.cohort}, adapted to {_cohort_name(adapt.target.as_data())}"
        params = replace(params, cohort=cohort[:MAX_COHORT])
    if variant is None:
        return replace(params, adapt=adapt)
    if variant not in ADAPTATIONS or params.name != OURS:
        raise UsageError(f"no adaptation {variant!r} of {params.name}; {OURS} has {', '.join(ADAPTATIONS)}")
    changed = adapt.model_copy(update=dict(ADAPTATIONS[variant].changes))
    return replace(params, name=method_of(variant), adapt=changed, variant=variant)
