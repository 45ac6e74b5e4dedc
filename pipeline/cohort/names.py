"""The names of MM-WHS files: the one place that parses and makes them."""

import re
import unicodedata
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from crossmodalnet.imaging.kinds import SUFFIXES
from crossmodalnet.imaging.structures import Modality

Part = Literal["train", "test"]
Kind = Literal["image", "label"]

# Published names, and what users and browsers make of them: upper case, hyphens, mri, img, labels, (1).
_NAME = re.compile(
    r"(?P<modality>ct|mr)(?:(?<=mr)i)?[_-](?P<part>train|test)[_-](?P<number>\d{4})[_-]"
    r"(?:(?P<image>image|img)|(?:labels?|seg))(?: ?\(\d+\))?\.nii(?:\.gz)?",
    re.IGNORECASE | re.ASCII,
)


@dataclass(frozen=True, order=True)
class CaseFile:
    """What a file's name says.

    Attributes:
        modality: CT or MR.
        part: training (labelled as published) or test (published without labels).
        number: four digits, for instance `1001`.
        kind: image or label map.
    """

    modality: Modality
    part: Part
    number: str
    kind: Kind

    @property
    def subject(self) -> str:
        """Name of the subject, for instance `ct_1001`."""
        return f"{self.modality.value}_{self.number}"

    @property
    def file_name(self) -> str:
        """The published name, for instance `ct_train_1001_image.nii.gz`."""
        return f"{self.modality.value}_{self.part}_{self.number}_{self.kind}.nii.gz"


# What a file that somebody took for a scan of the cohort begins with, whatever comes after.
_NEARLY = re.compile(r"(?:ct|mri?)[ _.-]*(?:train|test)", re.IGNORECASE)
_PACKED = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".7z", ".rar", ".gz.part", ".crdownload")


def normal_name(path: str) -> str:
    r"""Give the one form in which names are looked at: `/` between folders, compatible letters of Unicode as one.

    >>> normal_name("mmwhs\\ct\uff3ftrain_1001_image.nii")
    'mmwhs/ct_train_1001_image.nii'
    """
    return unicodedata.normalize("NFKC", path).replace("\\", "/")


def is_hidden(path: str) -> bool:
    """Tell whether a file is the operating system's own: hidden, or a shadow that macOS makes."""
    parts = PurePosixPath(path).parts
    return (
        not parts
        or parts[-1].startswith(".")
        or "__MACOSX" in parts
        or parts[-1] in ("Thumbs.db", "desktop.ini")
    )


def is_near_miss(path: str) -> bool:
    """Tell whether a file that `parse` does not know looks like a scan, or like an archive that is not opened."""
    name = PurePosixPath(normal_name(path)).name.lower()
    if is_hidden(path) or parse(path) is not None or name.endswith(".zip"):
        return False
    return name.endswith((*SUFFIXES, *_PACKED, ".mgz", ".img")) or bool(_NEARLY.match(name))


def parse(path: str) -> CaseFile | None:
    """Read the last part of a path in `normal_name`'s form; None for any other file, macOS's shadow files included."""
    parts = PurePosixPath(path).parts
    match = _NAME.fullmatch(parts[-1]) if parts else None
    if match is None or "__MACOSX" in parts:
        return None
    part: Part = "train" if match["part"].lower() == "train" else "test"
    return CaseFile(
        Modality(match["modality"].lower()), part, match["number"], "image" if match["image"] else "label"
    )
