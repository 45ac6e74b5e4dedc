"""A project with a raw cohort of ellipsoid patients, its registered atlases, and quick parameters."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from crossmodalnet.imaging.nifti import write_image, write_label_map
from crossmodalnet.imaging.structures import Modality
from pipeline.cohort.pairs import Subject, make_pairs, select, write_manifest
from tests.pipeline.preparation.quick import SECTIONS, WriteCohort

NUM_SUBJECTS = 4


@pytest.fixture(scope="session")
def write_cohort(scan: Callable[..., Any], centred: Callable[..., Any]) -> WriteCohort:
    """Write a cohort under the names of MM-WHS; `extra_mm` moves its patients, `labels=False` leaves labels out."""

    def write(folder: Path, extra_mm: float = 0.0, labels: bool = True) -> list[Subject]:
        folder.mkdir(parents=True, exist_ok=True)
        subjects = []
        for modality in Modality:
            for i in range(NUM_SUBJECTS):
                stem, number = f"{modality.value}_train_{1001 + i}", f"{modality.value}_{1001 + i}"
                image, label = scan(
                    modality.value, centred(9.5, (22, 22, 22)), shape=(22, 22, 22),
                    shift_mm=(4 * i + extra_mm, -3 * i, 2 * i), scale=1 - 0.03 * i,
                )  # fmt: skip
                write_image(folder / f"{stem}_image.nii.gz", image)
                path = folder / f"{stem}_label.nii.gz" if labels else None
                if path:
                    write_label_map(path, label)
                subjects.append(Subject(number, modality, folder / f"{stem}_image.nii.gz", path))
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
        assert pair.ct.label is not None
        shutil.copy(pair.ct.image, folder / "ct.nii.gz")
        shutil.copy(pair.ct.label, folder / "ct_label.nii.gz")
    monkeypatch.chdir(top)
    monkeypatch.setenv("DVC_ROOT", str(top))
    return top


@pytest.fixture
def set_params(project: Path) -> Callable[..., None]:
    """Write params.yaml with the quick sections; the keyword arguments are the section `adapt`."""

    def write(**adapt: Any) -> None:
        sections = {name: getattr(SECTIONS, name) for name in ("register", "split", "crop")}
        content = {name: section.model_dump(mode="json") for name, section in sections.items()}
        YAML(typ="safe", pure=True).dump({**content, "adapt": adapt}, project / "params.yaml")

    return write
