"""Map methods to titles."""

from collections.abc import Mapping
from types import MappingProxyType

from pipeline.config.network import NetworksConfig
from pipeline.config.variants import ABLATIONS, ADAPTATIONS, ATLAS, OURS

ABLATION_TITLES: Mapping[str, str] = {name: variant.title for name, variant in ABLATIONS.items()}
# Parts that ablations remove, as subjects of sentences.
PARTS: Mapping[str, str] = MappingProxyType({
    "no_cross": "Cross attention",
    "no_deformable": "The deformable operator",
    "conv_only": "Attention, within streams and across,",
    "ct_only": "The MR stream",
    "mr_only": "The CT stream",
    "standard_residual": "The paper's residual (Eq. 2) in place of the standard one",
    "values_a": "Taking values from the queries' stream (b), not the keys' (a),",
    "cosine": "Dot-product similarity in place of cosine",
})  # fmt: skip
# Title of the adapted network, in tables of an adaptation only.
JADA = "JADA"
ADAPTATION_TITLES: Mapping[str, str] = {name: variant.title for name, variant in ADAPTATIONS.items()}
TITLES: Mapping[str, str] = MappingProxyType({
    **{name: field.title or name for name, field in NetworksConfig.model_fields.items()},
    ATLAS: "Atlas baseline",
    **{
        f"{OURS}-{key}": f"CrossModalNet ({title})"
        for key, title in {**ABLATION_TITLES, **ADAPTATION_TITLES}.items()
    },
})  # fmt: skip
# For axes and legends.
SHORT_TITLES: Mapping[str, str] = MappingProxyType({
    "resenc_unet": "ResEnc U-Net",
    **{f"{OURS}-{key}": title[0].upper() + title[1:] for key, title in ADAPTATION_TITLES.items()},
})  # fmt: skip


def title_of(name: str) -> str:
    """Return the title of a method; an unknown one keeps its name."""
    return TITLES.get(name, name)


def short_title_of(name: str) -> str:
    """Return the short title of a method."""
    return SHORT_TITLES.get(name, title_of(name))


def adapted_title_of(name: str) -> str:
    """Return the title of a method in tables of an adaptation."""
    return JADA if name == OURS else short_title_of(name)
