"""What makes a registration implausible, whatever its images: folds, a poor inverse, views that hardly meet."""

from collections.abc import Mapping

from pipeline.registration.params import RegisterParams


def implausible(record: Mapping[str, float | int | str], params: RegisterParams) -> str:
    """Say what is beyond the thresholds of the section, in one line; nothing where all is within them.

    Args:
        record: row of the quality table.
        params: section with the thresholds.
    """
    folded, error_mm, view = (
        float(record[key]) for key in ("negative_jacobian_share", "inverse_error_mm", "shared_view")
    )
    found = []
    if folded > params.warn_folded_share:
        found.append(f"{folded:.2%} of the voxels are folded (at most {params.warn_folded_share:.2%})")
    if error_mm > params.warn_inverse_error_mm:
        found.append(f"the inverse misses by {error_mm:.2f} mm (at most {params.warn_inverse_error_mm:g} mm)")
    if view < params.warn_shared_view:
        found.append(f"the fields of view share {view:.0%} (at least {params.warn_shared_view:.0%})")
    return "; ".join(found)
