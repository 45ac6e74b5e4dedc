"""The mean heart: chambers, myocardium and vessels put together, as signed distances."""

import numpy as np

from crossmodalnet.phantom.chambers import (
    left_atrium,
    left_ventricle,
    muscles,
    right_atrium,
    right_ventricle,
)
from crossmodalnet.phantom.landmarks import SEPTUM_MM, to_long_axis
from crossmodalnet.phantom.primitives import Field, smooth_union, without
from crossmodalnet.phantom.shape import Sizes
from crossmodalnet.phantom.vessels import aorta, coronaries, pulmonary, pulmonary_veins

# The heart lies in this box of mean coordinates, mm, with what `heart` returns of its vessels.
BOX_MM = ((-95.0, 80.0), (-85.0, 75.0), (-70.0, 105.0))


def heart(points: Field, sizes: Sizes) -> dict[str, Field]:
    """Signed distances of the seven labelled structures and of the unlabelled ones that belong to the heart.

    Args:
        points: `(3, n)` mean coordinates, mm.
        sizes: the subject's.

    Returns:
        `(n,)` each, mm: LV RV LA RA Myo AO PA, disjoint; and unlabelled `pulmonary_branches`,
        `pulmonary_veins`, `coronaries`, `papillary`, `trabeculae`, `left_heart` (LV with its wall),
        `left_pool` and `right_pool` (what communicates, as one), `walls` (of all that is not LV),
        `pericardium`.
    """
    structures, epicardium, outflow, branches = _structures(points, sizes)
    lv, rv, la, ra, ao, pa = (structures[name] for name in ("LV", "RV", "LA", "RA", "AO", "PA"))
    veins = pulmonary_veins(points, sizes)
    thick = np.minimum(np.minimum(la, ra) - 2, np.minimum(ao, pa) - 1.5)
    others = {
        "pulmonary_branches": branches,
        "pulmonary_veins": veins,
        "coronaries": coronaries(points, sizes),
        "left_heart": np.maximum(epicardium, -to_long_axis(points)[2]),
        "left_pool": np.minimum.reduce([lv, la, ao, veins]),
        "right_pool": np.minimum.reduce([rv, ra, pa, branches]),
        "walls": np.minimum.reduce([thick, rv - 3, outflow - 2.5, lv - 2.5]),
        "pericardium": _pericardium(epicardium, rv, la, ra, np.minimum(ao, pa), 4 * sizes.pericardial_fat),
    }
    return structures | others | muscles(points)


def _structures(points: Field, sizes: Sizes) -> tuple[dict[str, Field], Field, Field, Field]:
    """The seven; the LV's epicardial ellipsoid; its outflow tract; the unlabelled branches of the PA."""
    local = to_long_axis(points)
    epicardium, outflow, lv = left_ventricle(points, local, sizes)
    ao = aorta(points, sizes)
    pa, branches = (without(vessel, ao, gap_mm=SEPTUM_MM) for vessel in pulmonary(points, sizes))
    left = np.minimum(ao, outflow)
    rv = _cut_blunt(right_ventricle(points, local, sizes), np.minimum(epicardium, left - SEPTUM_MM), 5)
    rv = without(rv, pa)
    right_and_arteries = np.minimum.reduce([left, pa, branches, rv])
    # Only beside the appendage: at the base the LA meets the LV and the rim of its wall.
    beside = np.maximum(epicardium, 3 - local[2])
    la = without(left_atrium(points, local, sizes), right_and_arteries, beside, gap_mm=SEPTUM_MM)
    ra = without(right_atrium(points, sizes), ao, la, branches, epicardium, gap_mm=SEPTUM_MM)
    myocardium = np.maximum(_cut_blunt(epicardium, np.minimum.reduce([lv, ao, la]), 3), -local[2])
    structures = {"LV": lv, "RV": rv, "LA": la, "RA": ra, "Myo": myocardium, "AO": ao, "PA": pa}
    return structures, epicardium, outflow, branches


def _cut_blunt(body: Field, other: Field, thinnest_mm: float) -> Field:
    """`body` minus `other`, without the thin slivers that are left where their surfaces cross."""
    cut: Field = np.maximum(without(body, other), thinnest_mm + body - other)
    return cut


def _pericardium(epicardium: Field, rv: Field, la: Field, ra: Field, vessels: Field, fat_mm: float) -> Field:
    """A sac about all, with fat in its grooves."""
    ventricles = smooth_union(epicardium, rv - 3, 12)
    sac = smooth_union(ventricles, smooth_union(la, ra, 14) - 2, 14)
    return smooth_union(sac, vessels, 10) - fat_mm
