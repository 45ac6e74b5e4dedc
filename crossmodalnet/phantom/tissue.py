"""Painting a person: the order of tissues, the same for both modalities, with the intensities of one."""

from collections.abc import Mapping

import numpy as np

from crossmodalnet.phantom.body import Body
from crossmodalnet.phantom.primitives import Field
from crossmodalnet.phantom.texture import paint

# Body -> tissue, from back to front.
THORAX_ORDER = {
    "body": "fat", "muscle": "muscle", "inside": "fat", "lungs": "lung", "abdomen": "fat", "liver": "liver",
    "stomach": "stomach", "stomach_air": "air", "spleen": "spleen", "ribs": "cortex", "marrow": "marrow",
    "cartilage": "cartilage", "sternum": "marrow", "vertebrae": "cortex", "spongiosa": "marrow",
    "discs": "cartilage", "canal": "fluid",
}  # fmt: skip
VESSELS = {"ivc": "ivc", "svc": "svc", "descending_aorta": "aorta", "arch_branches": "aorta"}
# Pools that communicate are painted as one before each gets its own value, so that no seam shows between
# them.
HEART_ORDER = {
    "pericardium": "fat", "walls": "wall", "left_heart": "myocardium", "coronaries": "left", **VESSELS,
    "left_pool": "left", "right_pool": "right", "pulmonary_veins": "left", "pulmonary_branches": "pulmonary",
    "RA": "ra", "RV": "rv", "LA": "left", "Myo": "myocardium", "LV": "lv", "AO": "aorta", "PA": "pulmonary",
    "papillary": "myocardium", "trabeculae": "myocardium",
}  # fmt: skip


def paint_body(body: Body, tissue: Mapping[str, Field | float], width_mm: float) -> Field:
    """Render a person.

    Args:
        body: signed distances at n points.
        tissue: intensity of each tissue; a number, or a field `(n,)` over the points.
        width_mm: width over which a boundary is blurred, mm.

    Returns:
        `(n,)` intensities.
    """
    image = np.full(body.mean_points.shape[1], _number(tissue["air"]))
    for name, kind in THORAX_ORDER.items():
        paint(image, body.thorax[name], tissue[kind], width_mm)
    for name, kind in VESSELS.items():
        paint(image, body.vessels[name], tissue[kind], width_mm)
    near = body.near_heart
    values = {kind: v if isinstance(v, float) else v[near] for kind, v in tissue.items()}
    heart = image[near]
    paint(heart, body.thorax["oesophagus"][near], values["muscle"], width_mm)
    for name, kind in HEART_ORDER.items():
        distance = body.vessels[name][near] if name in VESSELS else body.heart[name]
        paint(heart, distance, values[kind], width_mm)
    paint(heart, body.thorax["airways"][near] - 1.5, values["muscle"], width_mm)
    paint(heart, body.thorax["airways"][near], values["air"], width_mm)
    image[near] = heart
    return image


def _number(value: Field | float) -> float:
    if not isinstance(value, float):
        raise ValueError(f"tissue air must be one number, got a field of shape {value.shape}")
    return value
