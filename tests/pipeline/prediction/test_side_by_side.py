from pathlib import Path

import pytest

from crossmodalnet.inference.patients import PatientTask
from crossmodalnet.inference.write import PatientScans, origin_of
from pipeline.prediction.side_by_side import predict_side_by_side


@pytest.mark.slow
def test_errors_of_workers_come_back_by_patient(tmp_path: Path) -> None:
    scans = PatientScans("a", tmp_path / "none.nii.gz", None)
    task = PatientTask(scans, tmp_path / "out", origin_of(scans, "", codes="mmwhs"))
    failed = predict_side_by_side([tmp_path / "no model"], "", 1, None, [task])
    assert "card.json not found" in str(failed["a"])
    assert failed["a"].exit_code == 3
