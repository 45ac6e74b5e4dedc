"""A patient's MR on the CT's grid, and a label map of the CT taken back to the MR's: in processes of their own."""

from dataclasses import dataclass
from pathlib import Path

from crossmodalnet.cropping.atlas import Atlas
from crossmodalnet.cropping.heart_box import FoundHeart, find_heart
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.registration.align import AlignSettings, align, bring_image
from crossmodalnet.registration.quality import Quality
from crossmodalnet.registration.syn import Transform, warp


@dataclass(frozen=True)
class RegisterWork:
    """An MR to register to a CT; the files of the transform go to `folder`, which exists."""

    ct: Volume
    mr: Volume
    settings: AlignSettings
    folder: Path


@dataclass(frozen=True)
class Registered:
    """An MR that lies on the CT's grid.

    Attributes:
        mr: MR on the CT's grid, float32.
        transform: transform that brought it there.
        quality: quality of the transform.
    """

    mr: Volume
    transform: Transform
    quality: Quality


def register_scans(work: RegisterWork) -> Registered:
    """Register, and warp the MR, as stage `register` does.

    Raises:
        RuntimeError: every start failed; says how.
    """
    found = align(work.ct, work.mr, work.settings, work.folder)
    if found.transform is None or found.quality is None:
        raise RuntimeError(f"the MR cannot be registered to the CT: {'; '.join(found.problems)}")
    moved = bring_image(work.mr, work.ct.grid, found.transform, work.settings)
    return Registered(moved, found.transform, found.quality)


@dataclass(frozen=True)
class BoxWork:
    """An image in which atlases of CT find the heart."""

    image: Volume
    modality: Modality
    atlases: tuple[Atlas, ...]
    spacing_mm: float


def find_box(work: BoxWork) -> FoundHeart:
    """Find the heart, as stage `crop` does, and in an MR as stage `target` does."""
    return find_heart(
        work.image, work.atlases, work.spacing_mm,
        modality=work.modality,
        initialisation="centre_of_mass" if work.modality is Modality.CT else "search",
    )  # fmt: skip


@dataclass(frozen=True)
class BackWork:
    """A label map on the CT's grid to be taken to the MR's."""

    labels: Volume
    mr: Volume
    transform: Transform


def labels_on_mr(work: BackWork) -> Volume:
    """Bring class indices from the CT's grid to the MR's by the inverse of the transform."""
    return warp(work.labels, work.mr.grid, work.transform.inverse_files, "nearest", inverted=True)
