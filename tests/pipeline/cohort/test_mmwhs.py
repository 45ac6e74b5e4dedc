import gzip
import io
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.inspect import Finding
from crossmodalnet.io.archive import normal_name
from crossmodalnet.io.outputs import file_digest
from pipeline.cohort.integrity import table
from pipeline.cohort.mmwhs import MAX_ALIKE, is_near_miss, lay_out_mmwhs, parse
from pipeline.config.sections import Archive, DataConfig

Zipped = Callable[[str, dict[str, bytes]], Path]


def laid_out(path: Path | list[Path], target: Path, **params: object) -> tuple[dict[str, bytes], list[str]]:
    """Contents by published name, and the findings."""
    target.mkdir()
    paths = [str(p) for p in path] if isinstance(path, list) else str(path)
    origins, findings = lay_out_mmwhs(target, DataConfig(source="mmwhs", path=paths, **params))
    assert sorted(origins) == sorted(p.name for p in target.iterdir())
    return {p.name: p.read_bytes() for p in target.iterdir()}, [f.what for f in findings]


def findings_of(path: Path, target: Path) -> tuple[int, list[Finding]]:
    """Number of files laid out, and the findings."""
    target.mkdir()
    origins, findings = lay_out_mmwhs(target, DataConfig(source="mmwhs", path=str(path)))
    return len(origins), findings


def contents(cohort: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in cohort.rglob("*.nii.gz")}


def zip_of(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in folder.rglob("*.nii.gz"):
            archive.write(path, path.relative_to(folder))
        archive.writestr("__MACOSX/._ct_train_1001_image.nii.gz", b"junk")
    return buffer.getvalue()


def test_files_keep_their_bytes(cohort: Path, tmp_path: Path) -> None:
    (cohort / "notes.txt").write_text("x")
    assert laid_out(cohort, tmp_path / "raw") == (contents(cohort), [])


def test_originals_are_neither_moved_nor_linked(cohort: Path, tmp_path: Path) -> None:
    before = contents(cohort)
    laid_out(cohort, tmp_path / "raw")
    for path in (tmp_path / "raw").iterdir():
        assert path.stat().st_nlink == 1
        assert not path.is_symlink()
    assert contents(cohort) == before


def test_links_to_folders_are_followed_once(cohort: Path, tmp_path: Path) -> None:
    shutil.move(cohort / "deep", tmp_path / "elsewhere")
    (cohort / "link").symlink_to(tmp_path / "elsewhere")
    (cohort / "loop").symlink_to(cohort)
    files, findings = laid_out(cohort, tmp_path / "raw")
    assert len(files) == 14
    assert findings == []


def test_archives_alone_listed_nested_and_in_folders(cohort: Path, tmp_path: Path, zipped: Zipped) -> None:
    expected = (contents(cohort), [])
    one = zipped("one.zip", {"inner/two.ZIP": zip_of(cohort / "deep")})
    three = tmp_path / "three.zip"
    three.write_bytes(zip_of(cohort))
    assert laid_out(three, tmp_path / "raw1") == expected
    assert laid_out([one, three], tmp_path / "raw2") == expected
    (tmp_path / "downloads").mkdir()
    three.rename(tmp_path / "downloads" / "three.zip")
    assert laid_out(tmp_path / "downloads", tmp_path / "raw3") == expected


def test_urls(cohort: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(zip_of(cohort))
    (tmp_path / "raw").mkdir()
    params = DataConfig(source="mmwhs", urls=[Archive(url=path.as_uri(), sha256=file_digest(path))])
    assert len(lay_out_mmwhs(tmp_path / "raw", params)[0]) == 14


def test_unpacked_files_are_compressed_the_same_on_every_run(cohort: Path, tmp_path: Path) -> None:
    packed = next(cohort.rglob("ct_train_1001_image.nii.gz"))
    plain = gzip.decompress(packed.read_bytes())
    packed.with_name("CT_train_1001_image.nii").write_bytes(plain)
    packed.unlink()
    first, _ = laid_out(cohort, tmp_path / "raw1")
    second, _ = laid_out(cohort, tmp_path / "raw2")
    assert first == second
    assert gzip.decompress(first["ct_train_1001_image.nii.gz"]) == plain
    assert first["ct_train_1001_image.nii.gz"][4:8] == bytes(4)  # no time


def test_the_same_file_twice_is_used_once(cohort: Path, tmp_path: Path) -> None:
    packed = next(cohort.rglob("ct_train_1001_image.nii.gz"))
    expected = contents(cohort)
    (cohort / packed.name.removesuffix(".gz")).write_bytes(gzip.decompress(packed.read_bytes()))
    files, findings = laid_out(cohort, tmp_path / "raw")
    assert findings == []
    assert files.keys() == expected.keys()


def test_the_same_name_with_other_content_is_a_finding(cohort: Path, tmp_path: Path) -> None:
    other = next(cohort.rglob("ct_train_1002_image.nii.gz"))
    shutil.copy(other, cohort / "ct_train_1001_image (1).nii.gz")
    _, findings = laid_out(cohort, tmp_path / "raw")
    assert findings == ["duplicate subject ct_1001: differs from ct_train_1001_image (1).nii.gz"]


def test_nothing_given(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"zmiclab\.github\.io/zxh/0/mmwhs/.*data\.path.*data\.urls"
    ) as caught:
        lay_out_mmwhs(tmp_path, DataConfig(source="mmwhs"))
    assert caught.value.exit_code == 3


def test_nothing_there(tmp_path: Path, zipped: Zipped) -> None:
    with pytest.raises(DataError, match=r"no/such does not exist"):
        lay_out_mmwhs(tmp_path, DataConfig(source="mmwhs", path="no/such"))
    empty = zipped("empty.zip", {"readme.txt": b"x"})
    with pytest.raises(DataError, match=r"no MM-WHS files in .*empty\.zip.*ct_train_1001_image"):
        lay_out_mmwhs(tmp_path, DataConfig(source="mmwhs", path=str(empty)))


def test_relative_path_is_found_in_dvc_root(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "copy").mkdir()
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setenv("DVC_ROOT", str(cohort.parent))
    assert len(laid_out(Path(cohort.name), tmp_path / "raw")[0]) == 14


def test_archives_share_one_limit(cohort: Path, tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        (tmp_path / name).write_bytes(zip_of(cohort))
    size = sum(len(content) for content in contents(cohort).values())
    limit = {"max_unpacked_gb": 1.5 * size / 1e9}
    with pytest.raises(DataError, match=r"b\.zip unpacks to more"):
        laid_out([tmp_path / "a.zip", tmp_path / "b.zip"], tmp_path / "raw", **limit)
    assert len(laid_out(tmp_path / "a.zip", tmp_path / "raw2", **limit)[0]) == 14


@pytest.mark.parametrize(
    "name",
    [
        "ct_train_021_image.nii.gz", "ct_train_10022_label.nii.gz", "ct_train_1001_image - Copy.nii.gz", "a.mha",
        "mr_train_1001_image_new.nii.gz", "ct_train_1001_image.nii.gz.part", "ct-train-1001.dcm", "mr_train.tar.gz",
    ],
)  # fmt: skip
def test_near_misses_warn(cohort: Path, tmp_path: Path, name: str) -> None:
    (cohort / name).write_bytes(b"x")
    number, [finding] = findings_of(cohort, tmp_path / "raw")
    assert number == 14
    assert (finding.severity, finding.file) == ("warning", name)


@pytest.mark.parametrize(
    "name", ["notes.txt", "._ct_train_1001_image.nii.gz", "__MACOSX/a.nii", ".hidden.nii"]
)
def test_unrelated_files_are_not_near_misses(name: str) -> None:
    assert not is_near_miss(name)


def test_many_alike_are_counted(cohort: Path, tmp_path: Path) -> None:
    for number in range(40):
        (cohort / f"ct_test_20{number:02d}_label_encrypt_1mm.nii.gz").write_bytes(b"x")
    _, findings = findings_of(cohort, tmp_path / "raw")
    assert len(findings) == MAX_ALIKE + 1
    assert findings[-1].file.startswith(f"{40 - MAX_ALIKE} more like ct_test_2000")


def test_damaged_files_beside_the_data_warn(cohort: Path, tmp_path: Path) -> None:
    (cohort / "broken.zip").write_bytes(b"junk")
    (cohort / "notes").symlink_to("nowhere")
    (cohort / "away.zip").symlink_to("nowhere.zip")
    os.mkfifo(cohort / "pipe.zip")
    number, findings = findings_of(cohort, tmp_path / "raw")
    assert number == 14
    assert sorted((f.severity, f.file) for f in findings) == [
        ("warning", "away.zip"), ("warning", "broken.zip"), ("warning", "notes"), ("warning", "pipe.zip"),
    ]  # fmt: skip


def test_unreadable_files_are_errors(cohort: Path, tmp_path: Path) -> None:
    images = sorted(cohort.rglob("ct_train_*_image.nii.gz"))
    for image in images[:2]:
        image.unlink()
        image.symlink_to("annex/lost")
    images[2].unlink()
    os.mkfifo(images[2])
    _, findings = findings_of(cohort, tmp_path / "raw")
    assert [(f.severity, Path(f.file).name) for f in findings] == [("error", image.name) for image in images]


def test_unlisted_folder_warns(cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("mr_test"):
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path)

    monkeypatch.setattr(os, "scandir", scandir)
    number, [finding] = findings_of(cohort, tmp_path / "raw")
    assert number == 13
    assert finding.file == "mr_test"
    assert "cannot be listed" in finding.what


def test_damaged_archive_of_cases_is_an_error(cohort: Path, tmp_path: Path) -> None:
    archive = cohort / "more.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("ct_train_1009_image.nii.gz", bytes(range(256)) * 8)
    data = bytearray(archive.read_bytes())
    data[100] ^= 0xFF
    archive.write_bytes(data)
    _, [finding] = findings_of(cohort, tmp_path / "raw")
    assert (finding.severity, finding.file) == ("error", "more.zip")
    assert "holds ct_train_1009_image.nii.gz" in finding.what


def test_names_in_archives_are_normalised(cohort: Path, tmp_path: Path) -> None:
    archive = tmp_path / "windows.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for file in cohort.rglob("*.nii.gz"):
            member = zipfile.ZipInfo("mmwhs\\" + file.name.replace("ct_", "ｃｔ＿"))
            member.create_system = 0
            packed.writestr(member, file.read_bytes())
        packed.writestr("mmwhs\\ct_train_77_image.nii.gz", b"x")
    number, [finding] = findings_of(archive, tmp_path / "raw")
    assert number == 14
    assert finding.file == "windows.zip:mmwhs/ct_train_77_image.nii.gz"
    assert parse(normal_name("x\\ct_train_1001_image.nii")) is not None


def test_only_near_misses_are_listed_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own/ct_train_7_image.nii.gz").write_bytes(b"x")
    with pytest.raises(DataError, match=r"no MM-WHS files(.|\n)*ct_train_7_image"):
        findings_of(tmp_path / "own", tmp_path / "raw")
    shutil.rmtree(tmp_path / "own")


def test_control_characters_are_escaped(cohort: Path, tmp_path: Path) -> None:
    hostile = "mr_train_1_\x1b[2J\u202e\nimage.nii"
    (cohort / hostile).write_bytes(b"x")
    _, findings = findings_of(cohort, tmp_path / "raw")
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
    ],
)
def test_published_names_and_variants(path: str, expected: str) -> None:
    case = parse(path)
    assert case is not None
    assert case.file_name == expected


@pytest.mark.parametrize(
    "path",
    [
        "",
        "readme.txt",
        "cti_train_1001_image.nii.gz",
        "ct_train_10011_image.nii.gz",
        "ct_test_2001_label_encrypt_1mm.nii.gz",
        "__MACOSX/ct_train_1001_image.nii.gz",
        "x/._ct_train_1001_image.nii.gz",
        "ct_train_1001_image.nii.gz.part",
    ],
)
def test_other_files_are_no_cases(path: str) -> None:
    assert parse(path) is None
