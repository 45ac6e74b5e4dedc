"""The parameters of a training with those of its adaptation, without what the training itself imports."""

from dataclasses import replace

from pipeline.config.params import load_section
from pipeline.config.sections import AdaptationConfig
from pipeline.config.variants import ADAPTATIONS, OURS, method_of
from pipeline.runtime.errors import UsageError
from pipeline.training.model_params import ModelParams


def with_adaptation(params: ModelParams, variant: str | None) -> ModelParams:
    """Add the adaptation of section `adapt`, where it is on.

    Args:
        params: parameters of a training without adaptation.
        variant: a key of `ADAPTATIONS`, of crossmodalnet only.

    Raises:
        UsageError: no such variant, or one of an adaptation that is off.
    """
    adapt = load_section(AdaptationConfig, "adapt")
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
    changed = adapt.model_copy(update=dict(ADAPTATIONS[variant]))
    return replace(params, name=method_of(variant), adapt=changed, variant=variant)
