from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from pipeline.runtime.workers import GB, CaseCost, largest_image, plan_workers


@pytest.mark.parametrize(
    ("requested", "num_cases", "free_gb", "workers", "why"),
    [
        (0, 20, 100.0, 8, "8 of 8 cores; a case takes up to 2.0 GB"),
        (0, 3, 100.0, 3, "3 of 8 cores"),
        (0, 20, 10.0, 4, "4 of 8 cores, since a case takes up to 2.0 GB by its largest image (9 x 9) and 10.0 GB"),
        (0, 20, 1.0, 1, "too little memory even for one"),
        (5, 20, 100.0, 5, "runtime.workers = 5"),
        (5, 20, 4.0, 5, "runtime.workers = 5; too little for so many"),
        (5, 2, 100.0, 2, "runtime.workers = 5"),
    ],
)  # fmt: skip
def test_workers_are_as_many_as_cores_memory_and_cases(
    requested: int, num_cases: int, free_gb: float, workers: int, why: str
) -> None:
    plan = plan_workers(requested, num_cases, 2 * GB, cores=8, free_bytes=int(free_gb * GB), largest="9 x 9")
    assert plan.workers == workers
    assert plan.why.startswith(why)


def test_the_cost_grows_with_the_image() -> None:
    assert CaseCost(100, 8).bytes(2**20) == 108 * 2**20


def test_the_largest_image_is_found_by_headers_and_by_sizes_of_files(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4)), tmp_path / "a.nii.gz")
    (tmp_path / "b.nrrd").write_bytes(b"x" * 50)
    (tmp_path / "c.nii.gz").write_bytes(b"no image")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "slice").write_bytes(b"x" * 90)
    found = [tmp_path / name for name in ("b.nrrd", "a.nii.gz", "c.nii.gz", "d", "none.nii.gz")]
    assert largest_image(found) == (120, "4 x 5 x 6")
    assert largest_image([found[0], found[3]]) == (90, "90")
    assert largest_image([]) == (0, "")
