"""Register an MR to a CT by intensities alone."""

import os
from typing import TYPE_CHECKING, Protocol

from crossmodalnet.registration.config import RegistrationConfig

if TYPE_CHECKING:
    from crossmodalnet.imaging.volume import Grid, Volume
    from crossmodalnet.registration.ants import Transform
    from crossmodalnet.registration.quality import Alignment


class Registration(Protocol):
    """Protocol of an engine; deterministic if the environment is as `registration.ants` requires."""

    def register(self, ct: "Volume", mr: "Volume", folder: str | os.PathLike[str]) -> "Alignment":
        """Register an MR of any unit to a CT in HU; the files of the transform go to the existing `folder`.

        Raises:
            RegistrationError: it failed, or did not raise the mutual information enough.
        """

    def warp_image(self, mr: "Volume", grid: "Grid", transform: "Transform") -> "Volume":
        """Warp the MR to a grid in the CT's world; float32, the MR's minimum outside its field of view."""

    def warp_labels(self, labels: "Volume", grid: "Grid", transform: "Transform") -> "Volume":
        """Warp the MR's label map to a grid in the CT's world; background outside its field of view."""


def make_registration(config: RegistrationConfig) -> Registration:
    """Create the engine of `config.method`; only the staged one needs PyTorch.

    >>> type(make_registration(RegistrationConfig(method="fast"))).__name__
    'StagedRegistration'
    """
    if config.method == "syn":
        from crossmodalnet.registration.syn import SynRegistration

        return SynRegistration(config)
    from crossmodalnet.registration.staged import StagedRegistration

    return StagedRegistration(config)
