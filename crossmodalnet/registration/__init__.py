"""Register an MR to a CT by intensities alone: a protocol and its engines.

`make_registration` chooses the engine from section `register`. A new engine is a module with a class of this protocol,
a name in `RegistrationConfig.method` and a line in `make_registration`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from crossmodalnet.registration.config import RegistrationConfig

if TYPE_CHECKING:
    from crossmodalnet.imaging.volume import Grid, Volume
    from crossmodalnet.registration.ants import Transform
    from crossmodalnet.registration.quality import Alignment


class Registration(Protocol):
    """An engine; deterministic in a process whose environment is as `registration.ants` requires."""

    def register(self, ct: "Volume", mr: "Volume", folder: Path) -> "Alignment":
        """Register an MR of any unit to a CT in HU.

        Args:
            ct: fixed image.
            mr: moving image.
            folder: exists; receives the files of the transform and is deleted by the caller.

        Raises:
            RegistrationError: no start made the images more alike.
        """

    def warp_image(self, mr: "Volume", grid: "Grid", transform: "Transform") -> "Volume":
        """Warp the MR to a grid in the CT's world; float32, its least value outside its field of view."""

    def warp_labels(self, labels: "Volume", grid: "Grid", transform: "Transform") -> "Volume":
        """Warp the MR's label map to a grid in the CT's world; background outside its field of view."""


def make_registration(config: RegistrationConfig) -> Registration:
    """Make the engine of `config.method`; only the staged one needs PyTorch."""
    if config.method == "syn":
        from crossmodalnet.registration.syn import SynRegistration

        return SynRegistration(config)
    from crossmodalnet.registration.staged import StagedRegistration

    return StagedRegistration(config)
