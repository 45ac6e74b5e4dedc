"""No file of a cohort is left out without a word."""

import os
import shutil
import zipfile
from pathlib import Path

import pytest

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.inspect import Finding
from crossmodalnet.io.archive import normal_name
from pipeline.cohort.integrity import table
from pipeline.cohort.mmwhs import MAX_ALIKE, is_near_miss, lay_out_mmwhs, parse
from pipeline.config.sections import DataConfig


def found(cohort: Path, target: Path) -> tuple[int, list[Finding]]:
    target.mkdir()
    origins, findings = lay_out_mmwhs(target, DataConfig(source="mmwhs", path=str(cohort)))
    return len(origins), findings


@pytest.mark.parametrize(
    "name",
    [
        "ct_train_021_image.nii.gz", "ct_train_10022_label.nii.gz", "ct_train_1001_image - Copy.nii.gz", "a.mha",
        "mr_train_1001_image_new.nii.gz", "ct_train_1001_image.nii.gz.part", "ct-train-1001.dcm", "mr_train.tar.gz",
    ],
)  # fmt: skip
def test_near_misses_are_named(cohort: Path, tmp_path: Path, name: str) -> None:
    (cohort / name).write_bytes(b"x")
    number, [finding] = found(cohort, tmp_path / "raw")
    assert number == 14
    assert (finding.severity, finding.file) == ("warning", name)


@pytest.mark.parametrize(
    "name", ["notes.txt", "._ct_train_1001_image.nii.gz", "__MACOSX/a.nii", ".hidden.nii"]
)
def test_what_is_nobodys_scan_is_not(name: str) -> None:
    assert not is_near_miss(name)


def test_many_of_one_kind_are_one_row_more(cohort: Path, tmp_path: Path) -> None:
    for number in range(40):
        (cohort / f"ct_test_20{number:02d}_label_encrypt_1mm.nii.gz").write_bytes(b"x")
    _, findings = found(cohort, tmp_path / "raw")
    assert len(findings) == MAX_ALIKE + 1
    assert findings[-1].file.startswith(f"{40 - MAX_ALIKE} more like ct_test_2000")


def test_damage_beside_the_data_is_named_and_does_not_stop(cohort: Path, tmp_path: Path) -> None:
    (cohort / "broken.zip").write_bytes(b"junk")
    (cohort / "notes").symlink_to("nowhere")
    (cohort / "away.zip").symlink_to("nowhere.zip")
    os.mkfifo(cohort / "pipe.zip")
    number, findings = found(cohort, tmp_path / "raw")
    assert number == 14
    assert sorted((f.severity, f.file) for f in findings) == [
        ("warning", "away.zip"), ("warning", "broken.zip"), ("warning", "notes"), ("warning", "pipe.zip"),
    ]  # fmt: skip


def test_all_that_cannot_be_read_is_a_row_each(cohort: Path, tmp_path: Path) -> None:
    images = sorted(cohort.rglob("ct_train_*_image.nii.gz"))
    for image in images[:2]:
        image.unlink()
        image.symlink_to("annex/lost")
    images[2].unlink()
    os.mkfifo(images[2])
    _, findings = found(cohort, tmp_path / "raw")
    assert [(f.severity, Path(f.file).name) for f in findings] == [("error", image.name) for image in images]


def test_a_folder_that_cannot_be_listed_is_named(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("mr_test"):
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path)

    monkeypatch.setattr(os, "scandir", scandir)
    number, [finding] = found(cohort, tmp_path / "raw")
    assert number == 13
    assert finding.file == "mr_test"
    assert "cannot be listed" in finding.what


def test_an_archive_of_cases_that_is_lost_is_an_error(cohort: Path, tmp_path: Path) -> None:
    archive = cohort / "more.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("ct_train_1009_image.nii.gz", bytes(range(256)) * 8)
    data = bytearray(archive.read_bytes())
    data[100] ^= 0xFF
    archive.write_bytes(data)
    _, [finding] = found(cohort, tmp_path / "raw")
    assert (finding.severity, finding.file) == ("error", "more.zip")
    assert "holds ct_train_1009_image.nii.gz" in finding.what


def test_names_in_archives_have_one_form(cohort: Path, tmp_path: Path) -> None:
    archive = tmp_path / "windows.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for file in cohort.rglob("*.nii.gz"):
            member = zipfile.ZipInfo("mmwhs\\" + file.name.replace("ct_", "ｃｔ＿"))
            member.create_system = 0
            packed.writestr(member, file.read_bytes())
        packed.writestr("mmwhs\\ct_train_77_image.nii.gz", b"x")
    number, [finding] = found(archive, tmp_path / "raw")
    assert number == 14
    assert finding.file == "windows.zip:mmwhs/ct_train_77_image.nii.gz"
    assert parse(normal_name("x\\ct_train_1001_image.nii")) is not None


def test_nothing_but_near_misses_names_them(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own/ct_train_7_image.nii.gz").write_bytes(b"x")
    with pytest.raises(DataError, match=r"no MM-WHS files(.|\n)*ct_train_7_image"):
        found(tmp_path / "own", tmp_path / "raw")
    shutil.rmtree(tmp_path / "own")


def test_hostile_names_cannot_write_to_the_terminal(cohort: Path, tmp_path: Path) -> None:
    hostile = "mr_train_1_\x1b[2J\u202e\nimage.nii"
    (cohort / hostile).write_bytes(b"x")
    _, findings = found(cohort, tmp_path / "raw")
    text = table(findings)
    assert not set(text) & {"\x1b", "\u202e"}
    assert "\\x1b[2J\\u202e\\nimage.nii" in text
