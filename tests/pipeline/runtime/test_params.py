from pathlib import Path

import pytest

from crossmodalnet.errors import UsageError
from pipeline.config.params import load_section, read_raw
from pipeline.config.sections import CropConfig, SplitConfig


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    return path


def test_numbers_as_dvc_writes_them(tmp_path: Path) -> None:
    # PyYAML would read 1e-05 as text.
    path = written(tmp_path, "crop: {spacing_mm: 1e-05}\n")
    assert load_section(CropConfig, "crop", path=path).spacing_mm == 1e-5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("crop: {margin: 3}", r"crop\.margin: unknown key"),
        ("crop: {margin_mm: '3'}", r"crop\.margin_mm = '3'"),
        ("crop: {margin_mm: -1}", r"crop\.margin_mm = -1: .*greater than or equal to 0"),
        ("crop: {roi: heart}", r"crop\.roi = 'heart': .*'atlas' or 'labels'"),
        ("crop: {size: [1, 2]}", r"crop\.size"),
        ("crop: {margin_mm: .nan}", r"crop\.margin_mm"),
    ],
)
def test_bad_values_name_key_value_and_rule(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_section(CropConfig, "crop", path=written(tmp_path, text))


def test_all_bad_values_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"2 bad value"):
        load_section(CropConfig, "crop", path=written(tmp_path, "crop: {margin: 3, roi: heart}"))


def test_a_fold_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="fold 3 does not exist"):
        load_section(SplitConfig, "split", path=written(tmp_path, "split: {folds: 3, fold: 3}"))


@pytest.mark.parametrize("text", ["trian: {lr: 1}", "[1, 2]", "a: [", "a: 1\na: 2"])
def test_files_that_are_no_parameters(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError):
        read_raw(written(tmp_path, text))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="run from the top"):
        read_raw(tmp_path / "params.yaml")
