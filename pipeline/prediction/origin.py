"""What a prediction is made from: it tells a finished one from one of other scans, another model, other options."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import crossmodalnet
from crossmodalnet.imaging.dicom import MAX_FILES
from crossmodalnet.inference.packed import MAX_MODEL_BYTES, model_folder
from crossmodalnet.roi.box import Box
from pipeline.runtime.work import file_digest


@dataclass(frozen=True)
class PatientScans:
    """A patient's scans: files, or folders of DICOM; at least one of the two.

    Attributes:
        name: name of the patient, for messages.
        ct: file or folder of the CT.
        mr: file or folder of the MR.
        series: names of DICOM series, where a folder has several.
    """

    name: str
    ct: Path | None
    mr: Path | None
    series: tuple[str, ...] = ()

    @property
    def paths(self) -> dict[str, Path]:
        """The scans that there are, by modality."""
        return {name: path for name, path in (("ct", self.ct), ("mr", self.mr)) if path is not None}


@dataclass(frozen=True)
class Origin:
    """What a prediction is made from.

    Attributes:
        scans: files of the patient.
        scan_digests: SHA-256 by modality; None of what cannot be read.
        model_digest: SHA-256 of the files of the model folder, or of several.
        codes: what the values of label maps are.
        box: heart box that was given; None where it is to be found.
        mirror: axes along which images are mirrored as well.
    """

    scans: PatientScans
    scan_digests: Mapping[str, str | None]
    model_digest: str
    codes: str
    box: Box | None
    mirror: str = ""

    def as_record(self) -> dict[str, Any]:
        """The same for run.json."""
        return {
            "inputs": {
                name: {"path": str(path), "sha256": self.scan_digests[name]}
                for name, path in self.scans.paths.items()
            },
            "series": list(self.scans.series),
            "model_sha256": self.model_digest,
            "labels": self.codes,
            "box_given_mm": None if self.box is None else [list(self.box.low_mm), list(self.box.high_mm)],
            "mirror": self.mirror,
            "crossmodalnet": crossmodalnet.__version__,
        }

    def made(self, record: Mapping[str, Any]) -> bool:
        """Tell whether a prediction with this record is made from the same; files may have moved."""
        theirs = record.get("made_from")
        return None not in self.scan_digests.values() and _unplaced(theirs) == _unplaced(self.as_record())


def origin_of(
    scans: PatientScans, model_digest: str, *, codes: str, box: Box | None, mirror: str = ""
) -> Origin:
    """Digest a patient's scans."""
    digests = {name: scan_digest(path) for name, path in scans.paths.items()}
    return Origin(scans, digests, model_digest, codes, box, mirror)


def scan_digest(path: Path) -> str | None:
    """SHA-256 of a file, or of the names and contents of the files in a folder; None where one cannot be read."""
    try:
        if path.is_dir():
            entries = sorted(entry for entry in islice(path.iterdir(), MAX_FILES) if entry.is_file())
            return _of_files(entries)
        return file_digest(path) if path.is_file() else None
    except OSError:
        return None


def digest_models(models: Sequence[Path]) -> str:
    """SHA-256 of the names and contents of the files of models, in the order of the models; packed or not."""
    digests = []
    for model in models:
        with model_folder(model) as folder:
            files = [folder / name for name in sorted(MAX_MODEL_BYTES) if (folder / name).is_file()]
            digests.append(_of_files(files))
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _of_files(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name}\0{file_digest(file)}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _unplaced(record: Any) -> Any:
    """The record without the places of the scans."""
    if not isinstance(record, Mapping) or not isinstance(record.get("inputs"), Mapping):
        return None
    inputs = {
        name: entry.get("sha256") if isinstance(entry, Mapping) else None
        for name, entry in record["inputs"].items()
    }
    return {**record, "inputs": inputs}
