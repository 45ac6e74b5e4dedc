"""Where cropped cases lie, where their labels are, and which of them a model's source domain consists of."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.nifti import read_label_map
from pipeline.cohort.pairs import Role, read_manifest
from pipeline.cohort.split_file import read_split
from pipeline.preparation.cropped import CroppedCase, read_cropped
from pipeline.preparation.domain import SOURCE_CASES, Domain
from pipeline.preparation.domain import TARGET_CASES as TARGETS
from pipeline.preparation.target_labels import NATIVE, WORKING
from pipeline.runtime.paths import CROPPED, MANIFEST, REGISTERED, SPLIT, TARGET, TARGET_LABELS

Names = Mapping[Role, list[str]]


@dataclass(frozen=True)
class CaseSet:
    """Cropped cases of one domain.

    Attributes:
        folder: folder that holds a folder per case.
        labels: folder that holds a folder per labelled case; None where the cases hold their labels themselves.
    """

    folder: Path
    labels: Path | None = None

    def read(self, name: str) -> CroppedCase:
        """Read a case with its label.

        Raises:
            DataError: the case or its label is missing or damaged.
        """
        case = read_cropped(self.folder / name)
        if self.labels is None:
            return case
        path = self.labels / name / WORKING
        try:
            return replace(case, label=read_label_map(path))
        except (OSError, ValueError) as error:
            raise DataError(f"{name}: no label of the target domain at {path} ({error})") from error

    def read_unlabelled(self, name: str) -> CroppedCase:
        """Read a case without looking for its labels."""
        return replace(read_cropped(self.folder / name), label=None, mr_label=None)

    def truths(self) -> Mapping[str, Path]:
        """Label maps on the original grids of the cases, by name; only of cases that have one.

        Raises:
            DataError: no manifest.
        """
        if self == SOURCE_IMAGES:
            return {s.name: s.label for s in read_manifest(MANIFEST) if s.label is not None}
        if self.labels is not None:
            return {path.parent.name: path for path in sorted(self.labels.glob(f"*/{NATIVE}"))}
        return {path.parent.name: path for path in sorted(REGISTERED.glob("*/ct_label.nii.gz"))}


PAIRS = CaseSet(CROPPED)
SOURCE_IMAGES = CaseSet(TARGET / SOURCE_CASES)
TARGET_CASES = CaseSet(TARGET / TARGETS, TARGET_LABELS)


def source_of(domain: Domain | None) -> tuple[CaseSet, Names]:
    """Give the labelled cases of the source domain, and their roles: single images, or the pairs of the cohort.

    Args:
        domain: domain of the adaptation; None without one.

    Raises:
        DataError: no split.
    """
    if domain is not None and domain.source is not None:
        return SOURCE_IMAGES, domain.source
    return PAIRS, read_split(SPLIT)
