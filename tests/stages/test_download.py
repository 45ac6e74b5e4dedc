from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from crossmodalnet.errors import DataError
from pipeline.cohort.pairs import read_manifest
from stages.download import main
from tests.pipeline.cohort.conftest import CODES
from tests.stages.conftest import Place

RAW = Path("data/raw")
LABEL = "ct_train_1001_label.nii.gz"


def truncate(cohort: Path) -> None:
    image = cohort / "ct_train_1001_image.nii.gz"
    image.write_bytes(image.read_bytes()[:-30])


def test_cohort_and_manifest(place: Place) -> None:
    main()
    subjects = read_manifest(RAW / "manifest.csv")
    assert [s.name for s in subjects] == [f"{m}_{n}" for m in ("ct", "mr") for n in range(1001, 1004)]
    for subject in subjects:
        assert subject.label is not None
        assert subject.image.read_bytes() == (place.cohort / subject.image.name).read_bytes()
    assert [path.name for path in Path("data").iterdir()] == ["raw"]
    assert len(list(RAW.iterdir())) == 13


def test_fault_stops_the_stage_and_keeps_the_old_cohort(place: Place) -> None:
    RAW.mkdir(parents=True)
    (RAW / "old").write_text("cohort")
    truncate(place.cohort)
    with pytest.raises(DataError, match="it ends early"):
        main()
    assert [path.as_posix() for path in Path("data").rglob("*")] == ["data/raw", "data/raw/old"]


def test_all_findings_are_listed_and_nothing_is_written(place: Place) -> None:
    truncate(place.cohort)
    place.image(LABEL, np.where(CODES == 850, 9, CODES))
    place.image("ct_train_1002_label.nii.gz", CODES[:-1])
    (place.cohort / "mr_train_1001_image.nii.gz").unlink()
    (place.cohort / "mr_train_1002_label.nii.gz").unlink()
    place.image("mr_train_1003_label.nii.gz", 0 * CODES)
    with pytest.raises(DataError) as caught:
        main()
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[0] for line in lines if line.startswith(("error", "warning"))] == [
        "error ct_1001, ct_train_1001_image.nii.gz",
        "error ct_1001, ct_train_1001_label.nii.gz",
        "error ct_1002, ct_train_1002_label.nii.gz",
        "error mr_1001, mr_train_1001_label.nii.gz",
        "error mr_1002, mr_train_1002_image.nii.gz",
        "error mr_1003, mr_train_1003_label.nii.gz",
        "error all",
    ]
    assert list(Path("data").iterdir()) == []


def test_structure_may_be_missing_and_stray_code_is_kept(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    drawn = np.where(CODES == 420, 421, np.where(CODES == 850, 0, CODES))
    place.image(LABEL, drawn)
    main()
    assert "missing structures: PA (850)" in caplog.text
    assert np.array_equal(np.asarray(nib.load(RAW / LABEL).dataobj), drawn)
