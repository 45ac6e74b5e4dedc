"""Titles of methods in print: networks, variants of CrossModalNet, the atlas baseline."""

from collections.abc import Mapping
from types import MappingProxyType

from pipeline.config.variants import ABLATIONS, ADAPTATIONS, ATLAS, OURS

# Headings of the ablations, read after the network's name.
ABLATION_TITLES: Mapping[str, str] = {name: variant.title for name, variant in ABLATIONS.items()}
# Part that an ablation removes, as the subject of a sentence.
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
# An adapted network is called JADA in tables of an adaptation, and keeps its name elsewhere.
JADA = "JADA"
ADAPTATION_TITLES: Mapping[str, str] = {name: variant.title for name, variant in ADAPTATIONS.items()}
TITLES: Mapping[str, str] = MappingProxyType({
    OURS: "CrossModalNet",
    "vtunet": "VT-UNet",
    "swin_unet": "Swin-Unet",
    "swin_unetr": "Swin UNETR",
    "nnformer": "nnFormer",
    "mednext": "MedNeXt",
    "resenc_unet": "Residual-encoder U-Net (nnU-Net)",
    ATLAS: "Atlas baseline",
    **{
        f"{OURS}-{key}": f"CrossModalNet ({title})"
        for key, title in {**ABLATION_TITLES, **ADAPTATION_TITLES}.items()
    },
})  # fmt: skip
# For axes and legends, where room is short.
SHORT_TITLES: Mapping[str, str] = MappingProxyType({
    "resenc_unet": "ResEnc U-Net",
    **{f"{OURS}-{key}": title[0].upper() + title[1:] for key, title in ADAPTATION_TITLES.items()},
})  # fmt: skip


def title_of(name: str) -> str:
    """Give the title of a method; an unknown one keeps its name."""
    return TITLES.get(name, name)


def short_title_of(name: str) -> str:
    """Give the title of a method where room is short."""
    return SHORT_TITLES.get(name, title_of(name))


def adapted_title_of(name: str) -> str:
    """Give the title of a method in tables of an adaptation, where the network itself is the adapted one."""
    return JADA if name == OURS else short_title_of(name)
