"""Read and write cropped cases on the working grid."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.nifti import read_image, read_label_map, write_image, write_label_map
from crossmodalnet.imaging.volume import Grid, Volume
from crossmodalnet.io.outputs import write_json
from pipeline.cohort.pairs import Role, read_manifest
from pipeline.cohort.split_file import read_split
from pipeline.preparation.domain import NATIVE, SOURCE_CASES, WORKING, Domain
from pipeline.preparation.domain import TARGET_CASES as TARGETS
from pipeline.runtime.paths import CROPPED, MANIFEST, REGISTERED, SPLIT, TARGET, TARGET_LABELS

RECORD = "crop.json"
LABELS = ("label", "mr_label")
FILES = ("ct", "mr", *LABELS)


@dataclass(frozen=True)
class CroppedCase:
    """A pair, or a single image, on the working grid; ValueError without an image."""

    name: str  # pair or subject
    ct: Volume | None  # HU
    mr: Volume | None  # registered to the CT, arbitrary units
    label: Volume | None  # classes on the CT, or the single image; None if unlabelled
    native: Grid  # original grid, on which predictions are returned
    mr_label: Volume | None = None  # of a labelled pair's MR, a different heart

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
    """Write a case as NIfTI files and `crop.json`, which lists the files if any is absent."""
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
    """Read a case; raise DataError if a file is missing or damaged."""
    try:
        record = json.loads((folder / RECORD).read_text("utf-8"))
        i, j, k = record["native_shape"]
        volumes: dict[str, Volume] = {}
        for name in record.get("files", FILES):
            read = read_label_map if name in LABELS else read_image
            volumes[name] = read(folder / f"{name}.nii.gz")
        native = Grid((i, j, k), np.array(record["native_affine"], np.float64))
        return CroppedCase(record["pair"], native=native, **{name: volumes.get(name) for name in FILES})
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{folder} does not hold a cropped case ({error}): run `dvc repro crop`") from error


Names = Mapping[Role, list[str]]


@dataclass(frozen=True)
class CaseSet:
    """Cropped cases of one domain in a folder per case, optionally with a separate label folder."""

    folder: Path
    labels: Path | None = None  # None if the labels are in the case folders

    def read(self, name: str) -> CroppedCase:
        """Read a case with its label; raise DataError if either is missing or damaged."""
        case = read_cropped(self.folder / name)
        if self.labels is None:
            return case
        path = self.labels / name / WORKING
        try:
            return replace(case, label=read_label_map(path))
        except (OSError, ValueError) as error:
            raise DataError(f"{name}: no label of the target domain at {path} ({error})") from error

    def read_unlabelled(self, name: str) -> CroppedCase:
        """Read a case without its labels."""
        return replace(read_cropped(self.folder / name), label=None, mr_label=None)

    def truths(self) -> Mapping[str, Path]:
        """Map cases to label maps on their original grids; raise DataError without a manifest."""
        if self == SOURCE_IMAGES:
            return {s.name: s.label for s in read_manifest(MANIFEST) if s.label is not None}
        if self.labels is not None:
            return {path.parent.name: path for path in sorted(self.labels.glob(f"*/{NATIVE}"))}
        return {path.parent.name: path for path in sorted(REGISTERED.glob("*/ct_label.nii.gz"))}


PAIRS = CaseSet(CROPPED)
SOURCE_IMAGES = CaseSet(TARGET / SOURCE_CASES)
TARGET_CASES = CaseSet(TARGET / TARGETS, TARGET_LABELS)


def source_of(domain: Domain | None) -> tuple[CaseSet, Names]:
    """Return the labelled source cases and their roles; raise DataError without a split."""
    if domain is not None and domain.source is not None:
        return SOURCE_IMAGES, domain.source
    return PAIRS, read_split(SPLIT)
