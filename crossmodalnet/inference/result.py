"""What a prediction gives: label maps on the scans' own grids, and how far they can be relied on."""

from dataclasses import dataclass

from crossmodalnet.imaging.volume import Volume
from crossmodalnet.inference.doubts import Doubt
from crossmodalnet.registration.quality import Quality
from crossmodalnet.roi.box import Box


@dataclass(frozen=True)
class Prediction:
    """What was found in a patient's scans.

    Attributes:
        ct: CT as it was read; None where there is none.
        mr: MR as it was read; None likewise.
        ct_labels: class indices on the CT's grid; None without a CT.
        mr_labels: class indices on the MR's grid; None without an MR.
        box: heart box, world RAS, mm: of the CT's world, of the MR's where there is no CT.
        confidence: mean probability of each structure's voxels on the working grid, 0 to 1; NaN where it is missing.
        agreement: Dice of each structure between two models of an ensemble, mean over the pairs; NaN of one model
            alone, and where none finds it.
        registration: quality of the registration of MR to CT; None for one scan.
        doubts: what a reader should look at.
    """

    ct: Volume | None
    mr: Volume | None
    ct_labels: Volume | None
    mr_labels: Volume | None
    box: Box
    confidence: dict[str, float]
    agreement: dict[str, float]
    registration: Quality | None
    doubts: tuple[Doubt, ...]
