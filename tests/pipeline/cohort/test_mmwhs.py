import gzip
import os
import shutil
import zipfile
from pathlib import Path

import pytest

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.inspect import Finding
from crossmodalnet.io.outputs import file_digest
from pipeline.cohort.integrity import table
from pipeline.cohort.mmwhs import lay_out_mmwhs, parse
from pipeline.config.sections import Archive, DataConfig
from tests.pipeline.cohort.conftest import write_zip

Files = dict[str, bytes]


def laid_out(path: Path | list[Path], target: Path, **params: object) -> tuple[Files, list[Finding]]:
    """Contents by published name, and the findings."""
    target.mkdir()
    paths = [str(p) for p in path] if isinstance(path, list) else str(path)
    origins, findings = lay_out_mmwhs(target, DataConfig(source="mmwhs", path=paths, **params))
    assert sorted(origins) == sorted(p.name for p in target.iterdir())
    return {p.name: p.read_bytes() for p in target.iterdir()}, findings


def contents(cohort: Path) -> Files:
    return {path.name: path.read_bytes() for path in cohort.rglob("*.nii.gz")}


def zip_of(folder: Path, path: Path) -> Path:
    members = {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*.nii.gz")}
    return write_zip(path, members | {"__MACOSX/._ct_train_1001_image.nii.gz": b"junk"})


def test_files_are_copied_byte_by_byte(cohort: Path, tmp_path: Path) -> None:
    before = contents(cohort)
    assert laid_out(cohort, tmp_path / "raw") == (before, [])
    assert contents(cohort) == before
    for path in (tmp_path / "raw").iterdir():
        assert path.stat().st_nlink == 1
        assert not path.is_symlink()


def test_unrelated_files_are_ignored(cohort: Path, tmp_path: Path) -> None:
    expected = contents(cohort)
    (cohort / "__MACOSX").mkdir()
    for name in ("notes.txt", "._ct_train_1001_image.nii", "__MACOSX/ct_train_1001_image.nii", ".hidden.nii"):
        (cohort / name).write_text("x")
    assert laid_out(cohort, tmp_path / "raw") == (expected, [])


def test_links_to_folders_are_followed_once(cohort: Path, tmp_path: Path) -> None:
    shutil.move(cohort / "deep", tmp_path / "elsewhere")
    (cohort / "link").symlink_to(tmp_path / "elsewhere")
    (cohort / "loop").symlink_to(cohort)
    assert laid_out(cohort, tmp_path / "raw") == (contents(tmp_path / "elsewhere") | contents(cohort), [])


def test_archives_alone_listed_nested_and_in_folders(cohort: Path, tmp_path: Path) -> None:
    expected = (contents(cohort), [])
    two, three = zip_of(cohort / "deep", tmp_path / "two.zip"), zip_of(cohort, tmp_path / "three.zip")
    one = write_zip(tmp_path / "one.zip", {"inner/two.ZIP": two.read_bytes()})
    assert laid_out(three, tmp_path / "raw1") == expected
    assert laid_out([one, three], tmp_path / "raw2") == expected
    (tmp_path / "downloads").mkdir()
    three.rename(tmp_path / "downloads" / "three.zip")
    assert laid_out(tmp_path / "downloads", tmp_path / "raw3") == expected


def test_urls(cohort: Path, tmp_path: Path) -> None:
    path = zip_of(cohort, tmp_path / "a.zip")
    (tmp_path / "raw").mkdir()
    params = DataConfig(source="mmwhs", urls=[Archive(url=path.as_uri(), sha256=file_digest(path))])
    assert len(lay_out_mmwhs(tmp_path / "raw", params)[0]) == 14


def test_unpacked_files_are_compressed_the_same_on_every_run(cohort: Path, tmp_path: Path) -> None:
    packed = next(cohort.rglob("ct_train_1001_image.nii.gz"))
    plain = gzip.decompress(packed.read_bytes())
    packed.with_name("CT_train_1001_image.nii").write_bytes(plain)
    packed.unlink()
    first, _ = laid_out(cohort, tmp_path / "raw1")
    assert laid_out(cohort, tmp_path / "raw2")[0] == first
    assert gzip.decompress(first["ct_train_1001_image.nii.gz"]) == plain
    assert first["ct_train_1001_image.nii.gz"][4:8] == bytes(4)  # no time


def test_the_same_file_twice_is_used_once(cohort: Path, tmp_path: Path) -> None:
    packed = next(cohort.rglob("ct_train_1001_image.nii.gz"))
    expected = contents(cohort)
    (cohort / packed.name.removesuffix(".gz")).write_bytes(gzip.decompress(packed.read_bytes()))
    files, findings = laid_out(cohort, tmp_path / "raw")
    assert (files.keys(), findings) == (expected.keys(), [])


def test_the_same_name_with_other_content_is_a_finding(cohort: Path, tmp_path: Path) -> None:
    other = next(cohort.rglob("ct_train_1002_image.nii.gz"))
    shutil.copy(other, cohort / "ct_train_1001_image (1).nii.gz")
    _, [finding] = laid_out(cohort, tmp_path / "raw")
    assert finding.what == "duplicate subject ct_1001: differs from ct_train_1001_image (1).nii.gz"


def test_relative_path_is_found_in_dvc_root(cohort: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    monkeypatch.setenv("DVC_ROOT", str(cohort.parent))
    assert len(laid_out(Path(cohort.name), cohort.parent / "raw")[0]) == 14


def test_archives_share_one_limit(cohort: Path, tmp_path: Path) -> None:
    archives = [zip_of(cohort, tmp_path / name) for name in ("a.zip", "b.zip")]
    limit_gb = 1.5 * sum(map(len, contents(cohort).values())) / 1e9
    with pytest.raises(DataError, match=r"b\.zip unpacks to more"):
        laid_out(archives, tmp_path / "raw", max_unpacked_gb=limit_gb)
    assert len(laid_out(archives[0], tmp_path / "raw2", max_unpacked_gb=limit_gb)[0]) == 14


@pytest.mark.parametrize(
    "name",
    [
        "ct_train_021_image.nii.gz", "ct_train_10022_label.nii.gz", "ct_train_1001_image - Copy.nii.gz", "a.mha",
        "mr_train_1001_image_new.nii.gz", "ct_train_1001_image.nii.gz.part", "ct-train-1001.dcm", "mr_train.tar.gz",
        "cti_train_1001_image.nii.gz",
    ],
)  # fmt: skip
def test_near_misses_warn(cohort: Path, tmp_path: Path, name: str) -> None:
    (cohort / name).write_bytes(b"x")
    files, [finding] = laid_out(cohort, tmp_path / "raw")
    assert len(files) == 14
    assert (finding.severity, finding.file) == ("warning", name)


def test_damaged_files_beside_the_data_warn(cohort: Path, tmp_path: Path) -> None:
    (cohort / "broken.zip").write_bytes(b"junk")
    (cohort / "notes").symlink_to("nowhere")
    (cohort / "away.zip").symlink_to("nowhere.zip")
    os.mkfifo(cohort / "pipe.zip")
    files, findings = laid_out(cohort, tmp_path / "raw")
    assert len(files) == 14
    assert {f.severity for f in findings} == {"warning"}
    assert sorted(f.file for f in findings) == ["away.zip", "broken.zip", "notes", "pipe.zip"]


def test_unlisted_folder_warns(cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("mr_test"):
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path)

    monkeypatch.setattr(os, "scandir", scandir)
    files, [finding] = laid_out(cohort, tmp_path / "raw")
    assert len(files) == 13
    assert finding.file == "mr_test"
    assert "cannot be listed" in finding.what


def test_names_in_archives_are_normalised(cohort: Path, tmp_path: Path) -> None:
    archive = tmp_path / "windows.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for file in cohort.rglob("*.nii.gz"):
            member = zipfile.ZipInfo("mmwhs\\" + file.name.replace("ct_", "ｃｔ＿"))
            member.create_system = 0
            packed.writestr(member, file.read_bytes())
        packed.writestr("mmwhs\\ct_train_77_image.nii.gz", b"x")
    files, [finding] = laid_out(archive, tmp_path / "raw")
    assert len(files) == 14
    assert finding.file == "windows.zip:mmwhs/ct_train_77_image.nii.gz"


def test_near_misses_are_listed_where_nothing_is_found(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own/ct_train_7_image.nii.gz").write_bytes(b"x")
    with pytest.raises(DataError, match=r"no MM-WHS files(.|\n)*ct_train_7_image"):
        laid_out(tmp_path / "own", tmp_path / "raw")


def test_control_characters_are_escaped(cohort: Path, tmp_path: Path) -> None:
    (cohort / "mr_train_1_\x1b[2J\u202e\nimage.nii").write_bytes(b"x")
    _, findings = laid_out(cohort, tmp_path / "raw")
    text = table(findings)
    assert not set(text) & {"\x1b", "\u202e"}
    assert "\\x1b[2J\\u202e\\nimage.nii" in text


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("ct_train_1001_image.nii.gz", "ct_train_1001_image.nii.gz"),
        ("a b/c/CT_Train_1001_Label.NII", "ct_train_1001_label.nii.gz"),
        ("mri-test-2040-img.nii.gz", "mr_test_2040_image.nii.gz"),
        ("mr_train_1001_image (1).nii.gz", "mr_train_1001_image.nii.gz"),
        ("ct_train_1001_labels.nii.gz", "ct_train_1001_label.nii.gz"),
        ("", None),
    ],
)
def test_published_names_and_variants(path: str, expected: str | None) -> None:
    case = parse(path)
    assert (case and case.file_name) == expected
