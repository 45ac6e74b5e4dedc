from pathlib import Path

import pytest

from crossmodalnet.errors import DataError
from pipeline.training.tuning import TrialResult, read_trials, write_trial


def test_what_is_written_is_read_lowest_rate_first(tmp_path: Path) -> None:
    written = [TrialResult("mednext", lr, dice, 10) for lr, dice in ((0.01, 0.79), (0.0005, 0.8))]
    for result in written:
        write_trial(tmp_path / f"tuning/mednext/{result.lr}.json", result)
    assert read_trials("mednext", tmp_path) == written[::-1]
    assert read_trials("nnformer", tmp_path) == []


def test_trial_without_its_score_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tuning/mednext").mkdir(parents=True)
    (tmp_path / "tuning/mednext/9.json").write_text('{"model": "mednext", "lr": 9, "epochs": 1}')
    with pytest.raises(
        DataError, match=r"9.json: validation_dice: Field required: run `dvc repro --force tune`"
    ):
        read_trials("mednext", tmp_path)
