import json
from dataclasses import asdict
from pathlib import Path

import pytest

from crossmodalnet.errors import DataError
from crossmodalnet.io.outputs import write_json
from pipeline.evaluation.profile import Profile, Spread, read_profile

PROFILE = Profile(
    parameters=3, flops=4, step_seconds=Spread(0.8, 0.7, 0.9), step_ratio=Spread(4.0, 3.9, 4.2), step_memory_mb=9.5,
    inference_seconds=Spread(0.4, 0.3, 0.5), inference_ratio=Spread(3.0, 2.9, 3.2), inference_memory_mb=4.0,
    reference_seconds=0.25, reference_inference_seconds=0.13, repetitions=5, device="a processor", threads=2,
    batch_size=2, patch_size=(48, 40, 32), case_size=(48, 48, 48),
)  # fmt: skip


@pytest.fixture
def top(tmp_path: Path) -> Path:
    (tmp_path / "profile").mkdir()
    write_json(tmp_path / "profile/mednext.json", asdict(PROFILE))
    return tmp_path


def test_what_is_written_is_read(top: Path) -> None:
    assert read_profile("mednext", top) == PROFILE


@pytest.mark.parametrize(
    ("key", "value"), [("flops", None), ("step_ratio", {"median": 1.0}), ("flops", "many"), ("patch_size", [1, 2])]
)
def test_profile_of_another_form_is_refused(top: Path, key: str, value: object) -> None:
    path = top / "profile/mednext.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {key: value}))
    with pytest.raises(DataError, match=rf"mednext.json: {key}.*--force profile`"):
        read_profile("mednext", top)


def test_profile_that_is_missing_names_its_stage(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run `dvc repro profile-ablation`"):
        read_profile("crossmodalnet-no_cross", tmp_path)
