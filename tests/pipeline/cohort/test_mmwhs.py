import gzip
import io
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from crossmodalnet.errors import DataError
from crossmodalnet.io.outputs import file_digest
from pipeline.cohort.mmwhs import lay_out_mmwhs
from pipeline.config.sections import Archive, DataConfig

Zipped = Callable[[str, dict[str, bytes]], Path]


def laid_out(path: Path | list[Path], target: Path, **params: object) -> tuple[dict[str, bytes], list[str]]:
    """Contents by published name, and the findings."""
    target.mkdir()
    paths = [str(p) for p in path] if isinstance(path, list) else str(path)
    origins, findings = lay_out_mmwhs(target, DataConfig(source="mmwhs", path=paths, **params))
    assert sorted(origins) == sorted(p.name for p in target.iterdir())
    return {p.name: p.read_bytes() for p in target.iterdir()}, [f.what for f in findings]


def contents(cohort: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in cohort.rglob("*.nii.gz")}


def zip_of(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in folder.rglob("*.nii.gz"):
            archive.write(path, path.relative_to(folder))
        archive.writestr("__MACOSX/._ct_train_1001_image.nii.gz", b"junk")
    return buffer.getvalue()


def test_a_folder_keeps_its_bytes(cohort: Path, tmp_path: Path) -> None:
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


def test_archives_alone_listed_nested_or_in_a_folder(cohort: Path, tmp_path: Path, zipped: Zipped) -> None:
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
    assert findings == [
        "duplicate subject ct_1001: differs from ct_train_1001_image (1).nii.gz",
    ]


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


def test_a_relative_path_is_also_looked_for_in_the_parent_repository(
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
