"""Tiny cohorts, and archives of them."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

SHAPE = (8, 7, 6)
CODES = (0, 500, 600, 420, 550, 205, 820, 850)


def write_case(folder: Path, case: str, seed: int, label: bool = True, suffix: str = ".nii.gz") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    affine = np.diag([0.9, 1.1, 2.0, 1.0])
    noise = np.random.default_rng(seed).integers(-1000, 1000, SHAPE, dtype=np.int16)
    noise = noise if case.startswith("ct") else np.abs(noise)
    nib.save(nib.Nifti1Image(noise, affine), folder / f"{case}_image{suffix}")
    if label:
        codes = np.resize(np.array(CODES, np.int16), SHAPE)
        nib.save(nib.Nifti1Image(codes, affine), folder / f"{case}_label{suffix}")


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Three labelled and one unlabelled subject per modality, nested."""
    top = tmp_path / "cohort"
    for seed, modality in ((10, "ct"), (20, "mr")):
        for number in (1001, 1002, 1003):
            write_case(top / "deep" / f"{modality}_train", f"{modality}_train_{number}", seed + number)
        write_case(top / f"{modality}_test", f"{modality}_test_2001", seed + 2001, label=False)
    return top


@pytest.fixture
def zipped(tmp_path: Path) -> Callable[[str, dict[str, bytes]], Path]:
    """Make a deflated archive of the given members."""

    def make(name: str, members: dict[str, bytes]) -> Path:
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, content in members.items():
                archive.writestr(member, content)
        return tmp_path / name

    return make
