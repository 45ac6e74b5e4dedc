"""How methods and metrics are called in print: networks, variants of CrossModalNet, the atlas baseline; scores."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pipeline.config.variants import ABLATIONS, ADAPTATIONS, ATLAS, OURS

# Headings of the ablations, read after the network's name.
ABLATION_TITLES: Mapping[str, str] = {name: variant.title for name, variant in ABLATIONS.items()}
# What the full network has and the ablation has not, as the subject of a sentence.
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
# What an adaptation is called, and what it is compared with; an adapted network keeps its name outside such tables.
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
    """Name a method in print; one that is not known keeps its own name."""
    return TITLES.get(name, name)


def short_title_of(name: str) -> str:
    """Name a method where room is short."""
    return SHORT_TITLES.get(name, title_of(name))


def adapted_title_of(name: str) -> str:
    """Name a method among those of an adaptation, where the network itself is the adapted one."""
    return JADA if name == OURS else short_title_of(name)


@dataclass(frozen=True)
class Metric:
    """A quality measure.

    Attributes:
        key: column of the metric in cases.csv and bars.csv.
        title: title as printed.
        unit: `mm`, or empty for shares between 0 and 1 and for counts.
        digits: decimals printed.
        higher_is_better: whether a larger value is better.
    """

    key: str
    title: str
    unit: str
    digits: int
    higher_is_better: bool


METRICS = (
    Metric("dice", "Dice", "", 3, True),
    Metric("iou", "IoU", "", 3, True),
    Metric("hd95_mm", "HD95", "mm", 1, False),
    Metric("assd_mm", "ASSD", "mm", 2, False),
    Metric("nsd", "NSD", "", 3, True),
    Metric("betti_error", "Betti error", "", 2, False),
)
