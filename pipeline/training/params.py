"""The sections by which a network is built and trained."""

from dataclasses import dataclass, replace
from typing import Any

from crossmodalnet.config import NetworkConfig
from crossmodalnet.errors import UsageError
from crossmodalnet.imaging.intensity import Intensity
from crossmodalnet.networks.common.build import DEEPLY_SUPERVISED
from crossmodalnet.training.config import AugmentationConfig
from pipeline.config.network import NETWORKS
from pipeline.config.params import load_section
from pipeline.config.sections import AdaptSection, LossesConfig, TrainConfig
from pipeline.config.variants import ABLATIONS, ADAPTATIONS, OURS, method_of


@dataclass(frozen=True)
class ModelParams:
    """The sections that a training depends on, as they hold for one network.

    Attributes:
        name: name of the model; `crossmodalnet-no_cross` for an ablation or a variant of an adaptation.
        builder: key of the network's builder.
        variant: a key of `ADAPTATIONS`; None for the adaptation itself.
    """

    name: str
    builder: str
    network: NetworkConfig
    losses: LossesConfig
    augment: AugmentationConfig
    train: TrainConfig
    adapt: AdaptSection | None = None
    variant: str | None = None

    @property
    def options(self) -> dict[str, Any]:
        """Options of the builder."""
        options = self.network.options() | {"checkpointing": self.train.checkpointing}
        if self.builder in DEEPLY_SUPERVISED:
            options["deep_supervision"] = self.losses.deep_supervision
        if self.builder == OURS and self.modality_dropout:
            options["missing_token"] = True
        return options

    @property
    def intensity(self) -> Intensity:
        """Windows by which images become the network's input."""
        return Intensity(self.train.ct_window_hu, self.train.mr_percentiles)

    @property
    def sees_pairs(self) -> bool:
        """True where the network looks at both images of a pair."""
        return bool(self.network.options().get("streams", "both") == "both")

    @property
    def modality_dropout(self) -> float:
        """Probability that a training sample loses a modality: 0 where that would do harm.

        A network of one stream would be left with nothing to look at. In an adaptation, the pairs of the target are
        complete, so that the discriminators would tell the domains apart by what the source's lack; what JADA is
        compared with is trained like it.
        """
        return self.train.modality_dropout if self.sees_pairs and self.adapt is None else 0.0

    @property
    def training(self) -> dict[str, Any]:
        """Values of `train` that the result depends on, as they hold for this network.

        A checkpoint is found by it, and a model's card tells it.
        """
        return {
            **self.train.essential(),
            "modality_dropout": self.modality_dropout,
            "offset_lr_factor": self.network.offset_rate,
        }

    @property
    def augmentation(self) -> AugmentationConfig | None:
        """The augmentation, if there is one; a network of one stream has its image and label left together.

        In an adaptation the pairs of both domains are displaced alike, so that it tells neither from the other.
        """
        if not self.augment.enabled:
            return None
        together = {} if self.sees_pairs else {"misregistration_probability": 0.0}
        return self.augment.model_copy(update=together)


def read_params(model: str, ablation: str | None = None) -> ModelParams:
    """Read the sections that the training of `model` depends on.

    Args:
        model: a key of `network`.
        ablation: a key of `ABLATIONS`, of crossmodalnet only.

    Raises:
        UsageError: no such model or ablation, or a bad value.
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
    )


def with_adaptation(params: ModelParams, variant: str | None) -> ModelParams:
    """Add the adaptation of section `adapt`, where it is on.

    Args:
        params: parameters of a training without adaptation.
        variant: a key of `ADAPTATIONS`, of crossmodalnet only.

    Raises:
        UsageError: no such variant, or one of an adaptation that is off.
    """
    adapt = load_section(AdaptSection, "adapt")
    if not adapt.enabled:
        if variant is not None:
            raise UsageError(f"adaptation {variant}: adapt.enabled is false; set it or empty `adaptations`")
        return params
    if params.losses.cmif:
        raise UsageError(
            "losses.cmif and adapt.enabled cannot be had together: set one of them to 0 or false"
        )
    if variant is None:
        return replace(params, adapt=adapt)
    if variant not in ADAPTATIONS or params.name != OURS:
        raise UsageError(f"no adaptation {variant!r} of {params.name}; {OURS} has {', '.join(ADAPTATIONS)}")
    changed = adapt.model_copy(update=dict(ADAPTATIONS[variant].changes))
    return replace(params, name=method_of(variant), adapt=changed, variant=variant)
