"""Tiny cohorts, and archives of them."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

SHAPE = (8, 7, 6)
CODES = np.resize(np.array([0, 500, 600, 420, 550, 205, 820, 850], np.int16), SHAPE)
AFFINE = np.diag([0.9, 1.1, 2.0, 1.0])


def write_case(folder: Path, case: str, seed: int, kinds: Sequence[str] = ("image", "label")) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(-1000, 1000, SHAPE, dtype=np.int16)
    for kind in kinds:
        data = CODES if kind == "label" else noise if case.startswith("ct") else np.abs(noise)
        nib.save(nib.Nifti1Image(data, AFFINE), folder / f"{case}_{kind}.nii.gz")


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Three labelled and one unlabelled subject per modality, nested."""
    top = tmp_path / "cohort"
    for seed, modality in ((10, "ct"), (20, "mr")):
        for number in (1001, 1002, 1003):
            write_case(top / "deep" / f"{modality}_train", f"{modality}_train_{number}", seed + number)
        write_case(top / f"{modality}_test", f"{modality}_test_2001", seed + 2001, ("image",))
    return top


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    """Write a deflated archive."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return path
