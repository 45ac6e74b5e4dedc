"""What makes a registration implausible, whatever its images: folds, a poor inverse, views that hardly meet.

One definition for the pairs of a cohort and for a new patient; apart from what measures a registration, so that
parameters can take their defaults from here without ANTs.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crossmodalnet.registration.quality import Quality


@dataclass(frozen=True)
class Bounds:
    """Beyond which a registration is worth a look; the phantom's twenty pairs are within all three.

    Attributes:
        folded_share: largest share of folded voxels, 0 to 1. A diffeomorphism has none (nor have the phantom's pairs);
            a thousandth is more than rounding makes and is seen as a torn structure.
        inverse_error_mm: largest mean error of the inverse deformation, mm: a voxel of a cardiac CT or MR. The
            phantom's pairs have 0.05 to 0.07.
        shared_view: least share of the smaller field of view that the other one shares, 0 to 1. The phantom's pairs
            have 0.65 and more; below a half, most of one image has no partner.
    """

    folded_share: float = 0.001
    inverse_error_mm: float = 1.0
    shared_view: float = 0.5


USUAL = Bounds()


def implausible(quality: "Quality", bounds: Bounds = USUAL) -> list[str]:
    """Say what is beyond the bounds, a phrase each; nothing where all is within them."""
    folded, error_mm, view = quality.negative_jacobian_share, quality.inverse_error_mm, quality.shared_view
    found = []
    if folded > bounds.folded_share:
        found.append(f"{folded:.2%} of the voxels are folded (at most {bounds.folded_share:.2%})")
    if error_mm > bounds.inverse_error_mm:
        found.append(f"the inverse misses by {error_mm:.2f} mm (at most {bounds.inverse_error_mm:g} mm)")
    if view < bounds.shared_view:
        found.append(f"the fields of view share {view:.0%} (at least {bounds.shared_view:.0%})")
    return found
