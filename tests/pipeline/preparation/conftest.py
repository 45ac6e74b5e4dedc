"""A project with a raw cohort of ellipsoid patients, its registered atlases, and quick parameters."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossmodalnet.imaging.nifti import read_label_map, write_image, write_label_map
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.registration.config import RegistrationConfig
from pipeline.cohort.pairs import Pair, Subject, make_pairs, select, write_manifest
from pipeline.config.sections import CropConfig, SplitConfig
from pipeline.preparation.target import Sections

SECTIONS = Sections(
    RegistrationConfig(working_spacing_mm=10.0, iterations=[5], min_gain=-1.0),
    SplitConfig(),
    CropConfig(spacing_mm=9.0, size=(16, 16, 16), num_atlases=1, atlas_spacing_mm=10.0),
)
WriteCohort = Callable[..., list[Subject]]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def without_labels(pair: Pair) -> Pair:
    return Pair(replace(pair.ct, label=None), replace(pair.mr, label=None), pair.role)


def move_labels(*files: Path | None) -> None:
    for file in files:
        assert file is not None
        label = read_label_map(file)
        write_label_map(file, Volume(np.roll(label.data, 3, 1), label.affine))


@pytest.fixture(scope="session")
def write_cohort(scan: Any, centred: Any) -> WriteCohort:
    """Write four subjects of each modality under the names of MM-WHS; `extra_mm` moves its patients."""

    def write(folder: Path, extra_mm: float = 0.0) -> list[Subject]:
        subjects = []
        for modality in Modality:
            for i in range(4):
                files = [folder / f"{modality.value}_train_{1001 + i}_{part}.nii.gz" for part in ("image", "label")]
                image, label = scan(
                    modality.value, centred(9.5, (22, 22, 22)), shape=(22, 22, 22),
                    shift_mm=(4 * i + extra_mm, -3 * i, 2 * i), scale=1 - 0.03 * i,
                )  # fmt: skip
                write_image(files[0], image)
                write_label_map(files[1], label)
                subjects.append(Subject(f"{modality.value}_{1001 + i}", modality, *files))
        return subjects

    return write


@pytest.fixture
def project(write_cohort: WriteCohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with data/raw and, of each training pair, the CT and its label in data/registered."""
    top = tmp_path / "project"
    subjects = write_cohort(top / "data/raw")
    write_manifest(top / "data/raw/manifest.csv", subjects)
    for pair in select(make_pairs(subjects, SECTIONS.split), "train"):
        folder = top / "data/registered" / pair.name
        folder.mkdir(parents=True)
        shutil.copy(pair.ct.image, folder / "ct.nii.gz")
        shutil.copy(pair.ct.label, folder / "ct_label.nii.gz")
    monkeypatch.chdir(top)
    monkeypatch.setenv("DVC_ROOT", str(top))
    return top
