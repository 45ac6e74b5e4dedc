"""Compute the mean heart as signed distances `(n,)`, mm: chambers, myocardium and vessels.

Points are `(3, n)` in mean coordinates; `local` are the same points in the long-axis frame.
"""

import numpy as np

from crossmodalnet.phantom.primitives import Field, ellipsoid, half_space, smooth_union, spline, tube, without
from crossmodalnet.phantom.shape import (
    AORTIC,
    APEX,
    INTO_AORTA,
    INTO_PULMONARY,
    INTO_RV,
    LA_CENTRE,
    LV_CENTRE_W,
    LV_HALF_LENGTH_MM,
    LV_RADIUS_MM,
    PULMONARY,
    RA_CENTRE,
    SEPTUM_MM,
    TRICUSPID,
    WALL_MM,
    Sizes,
    epicardial_radius,
    long_axis,
    to_long_axis,
    vector,
)
from crossmodalnet.phantom.vessels import aorta, coronaries, pulmonary, pulmonary_veins


def left_ventricle(points: Field, local: Field, sizes: Sizes) -> tuple[Field, Field, Field]:
    """Compute the epicardial ellipsoid (not cut at the base), the outflow tract, and the cavity with the tract."""
    radius, length = LV_RADIUS_MM * sizes.lv_radius, LV_HALF_LENGTH_MM * sizes.lv_length
    outer, wall = epicardial_radius(sizes), APEX * WALL_MM * sizes.wall
    epicardium = ellipsoid(local, (0, 0, LV_CENTRE_W), (outer, outer, length + wall))
    cavity = np.maximum(ellipsoid(local, (0, 0, LV_CENTRE_W), (radius, radius, length)), -local[2])
    width = 12.5 * sizes.aorta
    way = [long_axis(3, 5, 18), long_axis(8, 10, 6), AORTIC + vector(3, 1, 5)]
    outflow = np.maximum(tube(points, way, [10, width, width]), half_space(points, AORTIC, INTO_AORTA))
    return epicardium, outflow, np.minimum(cavity, outflow)


def right_ventricle(points: Field, local: Field, sizes: Sizes) -> Field:
    """Compute the body from the tricuspid valve on (a crescent without the LV) and the outflow tract."""
    excess = epicardial_radius(sizes) - LV_RADIUS_MM - WALL_MM  # the RV grows with the LV it lies on
    radii = ((37 + 0.5 * excess) * sizes.rv, (38 + excess) * sizes.rv, 60 * sizes.rv_length)
    body = np.maximum(ellipsoid(local, (18 + 0.5 * excess, -1, 10), radii), 4 - local[0])
    body = np.maximum(body, -half_space(points, TRICUSPID, INTO_RV))
    way = [long_axis(40, 6, 20), long_axis(38, 24, 10), PULMONARY + vector(0, 4, -8), PULMONARY + 4 * INTO_PULMONARY]
    outflow = tube(points, spline(way, 8), sizes.pulmonary * np.linspace(14, 12, 8))
    outflow = np.maximum(outflow, half_space(points, PULMONARY, INTO_PULMONARY))
    return smooth_union(body, outflow, 6)


def left_atrium(points: Field, local: Field, sizes: Sizes) -> Field:
    """Compute the body behind the base, funnel to the mitral valve, appendage beside the pulmonary trunk."""
    centre, size = LA_CENTRE + sizes.la_mm, sizes.la
    body = np.maximum(ellipsoid(points, centre, (29 * size, 18.5 * size, 22 * size)), local[2] + 5)
    way = [centre, long_axis(-6, -8, -6), long_axis(-6, -8, 0)]
    atrium = smooth_union(body, tube(points, way, [15 * size, 15.5, 15]), 10)
    bend = [centre + vector(-20, 14, 12), vector(-37, -16, 31), vector(-43, 1, 32), vector(-38, 12, 29)]
    widths = sizes.appendages * np.array([9, 8, 7.5, 7.5, 8, 7.5, 6.5, 5])
    return smooth_union(np.maximum(atrium, local[2]), tube(points, spline(bend, 8), widths), 5)


def right_atrium(points: Field, sizes: Sizes) -> Field:
    """Compute the body on the right, funnel to the tricuspid valve, appendage before the aortic root."""
    centre, size = RA_CENTRE + sizes.ra_mm, sizes.ra
    body = ellipsoid(points, centre, (19 * size, 22 * size, 27 * size))
    funnel = tube(points, [centre, TRICUSPID, TRICUSPID + 5 * INTO_RV], [15 * size, 16.5, 16.5])
    bend = [centre + vector(-2, 14, 14), vector(30, 22, 21), vector(18, 28, 27)]
    appendage = tube(points, spline(bend, 6), sizes.appendages * np.array([11, 10.5, 10, 9, 8, 6]))
    atrium = smooth_union(smooth_union(body, funnel, 8), appendage, 6)
    return np.maximum(atrium, half_space(points, TRICUSPID, INTO_RV))


def muscles(points: Field) -> dict[str, Field]:
    """Compute the LV's papillary muscles and the RV's moderator band: dark in blood, labelled as blood."""
    first = tube(points, [long_axis(-13, 9, 48), long_axis(-10, 7, 26)], [4.5, 3])
    second = tube(points, [long_axis(-4, -16, 48), long_axis(-4, -11, 26)], [4.5, 3])
    band = tube(points, [long_axis(28, -5, 48), long_axis(46, 2, 38)], [2.2, 2.2])
    return {"papillary": np.minimum(first, second), "trabeculae": band}


# Box of the heart and its vessels in mean coordinates, mm.
BOX_MM = ((-95.0, 80.0), (-85.0, 75.0), (-70.0, 105.0))


def heart(points: Field, sizes: Sizes) -> dict[str, Field]:
    """Compute signed distances of the seven disjoint labelled structures, and of the unlabelled ones.

    `left_heart` is the LV with its wall, the pools unite connected blood, `walls` are those of all but the LV.
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
    """Compute the seven structures, epicardial ellipsoid, outflow tract, and unlabelled PA branches."""
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
    """Subtract `other` from `body`, without the thin slivers where their surfaces cross."""
    return np.maximum(without(body, other), thinnest_mm + body - other)


def _pericardium(epicardium: Field, rv: Field, la: Field, ra: Field, vessels: Field, fat_mm: float) -> Field:
    """Compute a sac around the heart, with fat in its grooves."""
    ventricles = smooth_union(epicardium, rv - 3, 12)
    sac = smooth_union(ventricles, smooth_union(la, ra, 14) - 2, 14)
    return smooth_union(sac, vessels, 10) - fat_mm
