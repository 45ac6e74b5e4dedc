"""Options of domain adaptation: strengths of JADA's terms and their schedule; section `adapt` without the domains."""

from pydantic import Field

from crossmodalnet.config import Config


class TermStrengths(Config):
    """Strength of each term of JADA; a field's name is that of the term's module in this package."""

    marginal: float = Field(
        0.5, ge=0, description="strength of the patch discriminators on bottleneck and decoder; 0: off"
    )
    conditional: float = Field(
        0.1, ge=0, description="strength of the discriminator of features given their class (CDAN); 0: off"
    )
    output: float = Field(1.0, ge=0, description="strength of the discriminator on entropy maps of the output; 0: off")
    self_training: float = Field(
        1.0, ge=0, description="strength of training on confident predictions of the target; 0: off"
    )
    topology: float = Field(
        1.0, ge=0, description="strength of preserving the spanning trees of source features; 0: off"
    )
    volumes: float = Field(
        0.0, ge=0, description="strength of matching the shares of blood and myocardium to the source; 0: off"
    )


class AdaptationConfig(TermStrengths):
    """Section `adapt` as the terms and their schedule take it.

    >>> import crossmodalnet
    >>> crossmodalnet.AdaptationConfig(confidence=0.8).confidence
    0.8
    """

    appearance: float = Field(
        1.0,
        ge=0,
        le=1,
        description="share of the source samples that take on a target image's intensities (histogram matching)",
    )
    start: float = Field(
        0.5, ge=0, lt=1, description="share of the training before adaptation; afterwards strengths rise from 0"
    )
    every: int = Field(2, ge=1, description="steps from one batch of target samples to the next")
    cap: float = Field(1.0, gt=0, description="largest norm of a term's gradient relative to the supervised gradient")
    confidence: float = Field(
        0.9, ge=0, lt=1, description="probability above which a prediction serves as a label in self-training"
    )

    def strengths(self) -> dict[str, float]:
        """Return the strengths by term."""
        return {name: getattr(self, name) for name in TERMS}


TERMS = tuple(TermStrengths.model_fields)
