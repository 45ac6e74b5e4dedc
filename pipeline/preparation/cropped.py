"""A case as the network sees it: images and labels on the working grid, and where it came from."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crossmodalnet.imaging.nifti import read_image, read_label_map, write_image, write_label_map
from crossmodalnet.imaging.volume import Grid, Volume
from pipeline.runtime.errors import DataError
from pipeline.runtime.files import write_json

RECORD = "crop.json"
LABELS = ("label", "mr_label")
FILES = ("ct", "mr", *LABELS)


@dataclass(frozen=True)
class CroppedCase:
    """One pair, or one image alone, on the working grid.

    Attributes:
        name: name of the pair, or of the subject.
        ct: HU; None for an MR alone.
        mr: registered to the CT, arbitrary units; None for a CT alone.
        label: class indices of the CT, or of the image alone; None for an unlabelled case.
        native: grid of the original CT, or of the image alone, on which predictions are returned.
        mr_label: class indices of the MR of a pair, registered with it: another heart than the CT's; None for an
            unlabelled case and for one image alone, whose label is `label`.

    Raises:
        ValueError: no image.
    """

    name: str
    ct: Volume | None
    mr: Volume | None
    label: Volume | None
    native: Grid
    mr_label: Volume | None = None

    def __post_init__(self) -> None:
        if self.ct is None and self.mr is None:
            raise ValueError(f"ct or mr of {self.name} must be an image, got None for both")

    @property
    def grid(self) -> Grid:
        """The working grid."""
        image = self.ct if self.ct is not None else self.mr
        assert image is not None
        return image.grid


def write_cropped(folder: Path, case: CroppedCase) -> None:
    """Write a case as NIfTI files and `crop.json`, which names the files where they are not all four.

    The folder is made if need be.
    """
    volumes = {"ct": case.ct, "mr": case.mr, "label": case.label, "mr_label": case.mr_label}
    files = [name for name, volume in volumes.items() if volume is not None]
    for name, volume in volumes.items():
        if volume is not None:
            write = write_label_map if name in LABELS else write_image
            write(folder / f"{name}.nii.gz", volume)
    write_json(folder / RECORD, {
        "pair": case.name,
        "native_shape": list(case.native.shape),
        "native_affine": case.native.affine.tolist(),
        **({} if len(files) == len(FILES) else {"files": files}),
    })  # fmt: skip


def read_cropped(folder: Path) -> CroppedCase:
    """Read a case.

    Raises:
        DataError: a file is missing or damaged.
    """
    try:
        record = json.loads((folder / RECORD).read_text("utf-8"))
        i, j, k = record["native_shape"]
        volumes: dict[str, Volume] = {}
        for name in record.get("files", FILES):
            read = read_label_map if name in LABELS else read_image
            volumes[name] = read(folder / f"{name}.nii.gz")
        return CroppedCase(
            record["pair"],
            volumes.get("ct"),
            volumes.get("mr"),
            volumes.get("label"),
            Grid((i, j, k), np.array(record["native_affine"], np.float64)),
            volumes.get("mr_label"),
        )
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{folder} does not hold a cropped case ({error}): run `dvc repro crop`") from error
