from pathlib import Path

import pytest

from crossmodalnet.errors import DataError
from crossmodalnet.inference.patients import PatientTask
from crossmodalnet.inference.write import PatientScans, origin_of
from pipeline.prediction.side_by_side import predict_side_by_side


@pytest.mark.slow
def test_damaged_model_in_workers(tmp_path: Path) -> None:
    scans = PatientScans("a", tmp_path / "none.nii.gz", None)
    task = PatientTask(scans, tmp_path / "out", origin_of(scans, "", codes="mmwhs"))
    with pytest.raises(DataError, match=r"card\.json not found"):
        list(predict_side_by_side([tmp_path / "no model"], 1, None, [task]))
