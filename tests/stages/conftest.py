"""A project folder, and a tiny cohort outside of it."""

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import pytest

from tests.pipeline.cohort.conftest import AFFINE, write_case, write_zip


@dataclass(frozen=True)
class Place:
    """A project folder, and the user's cohort outside of it."""

    top: Path
    cohort: Path

    def params(self, **data: Any) -> None:
        (self.top / "params.yaml").write_text(json.dumps({"data": {"source": "mmwhs", **data}}))

    def image(self, name: str, data: Any, affine: Any = AFFINE) -> None:
        nib.save(nib.Nifti1Image(data, affine), self.cohort / name)

    def patch(self, name: str, start: int, content: bytes) -> None:
        """Write bytes into the header of a file."""
        raw = bytearray(gzip.decompress((self.cohort / name).read_bytes()))
        raw[start : start + len(content)] = content
        (self.cohort / name).write_bytes(gzip.compress(bytes(raw)))

    def zipped(self, members: dict[str, bytes]) -> Path:
        """Give an archive instead of the folder."""
        archive = write_zip(self.cohort.parent / "given.zip", members)
        self.params(path=str(archive))
        return archive

    def all_in(self) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in sorted(self.cohort.iterdir())}

    def table(self, text: str, **more: Any) -> None:
        (self.cohort / "hearts.csv").write_text(text)
        self.params(source="table", path=str(self.cohort / "hearts.csv"), **more)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Three labelled subjects per modality; params.yaml names their folder."""
    found = Place(tmp_path / "project", tmp_path / "cohort")
    found.top.mkdir()
    for seed, modality in ((10, "ct"), (20, "mr")):
        for number in (1001, 1002, 1003):
            write_case(found.cohort, f"{modality}_train_{number}", seed + number)
    found.params(path=str(found.cohort))
    monkeypatch.chdir(found.top)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return found
