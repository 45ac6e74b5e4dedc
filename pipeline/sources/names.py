"""The names of MM-WHS files: the one place that parses and makes them."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

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


def parse(path: str) -> CaseFile | None:
    """Read the last part of a `/` path; None for any other file, macOS's shadow files included."""
    parts = PurePosixPath(path).parts
    match = _NAME.fullmatch(parts[-1]) if parts else None
    if match is None or "__MACOSX" in parts:
        return None
    part: Part = "train" if match["part"].lower() == "train" else "test"
    return CaseFile(
        Modality(match["modality"].lower()), part, match["number"], "image" if match["image"] else "label"
    )
