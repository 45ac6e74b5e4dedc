"""Which rows of the quality table are beyond the thresholds of section `register`."""

from collections.abc import Mapping
from dataclasses import fields

from crossmodalnet.registration.plausible import Bounds
from crossmodalnet.registration.plausible import implausible as beyond
from crossmodalnet.registration.quality import Quality
from pipeline.config.register import RegistrationConfig


def implausible(record: Mapping[str, float | int | str], params: RegistrationConfig) -> str:
    """Say what is beyond the thresholds of the section, in one line; nothing where all is within them.

    Args:
        record: row of the quality table.
        params: section with the thresholds.
    """
    quality = Quality(**{field.name: float(record[field.name]) for field in fields(Quality)})
    bounds = Bounds(params.warn_folded_share, params.warn_inverse_error_mm, params.warn_shared_view)
    return "; ".join(beyond(quality, bounds))
