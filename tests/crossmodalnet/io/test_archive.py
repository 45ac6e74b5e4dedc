import stat
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from crossmodalnet.errors import DataError, ResourceError
from crossmodalnet.io import archive as module
from crossmodalnet.io.archive import Budget, extract
from tests.pipeline.cohort.conftest import write_zip

NAME = "ct_train_1001_image.nii.gz"
OUTSIDE = ["../evil", "/etc/evil", "a/../../evil", "C:/evil", "..\\evil", "C:\\evil", "\\\\host\\evil"]


def take_all(archive: Path, target: Path, limit_bytes: int = 10**6) -> list[tuple[str, bytes]]:
    budget = Budget(limit_bytes, "data.max_unpacked_gb")
    members = extract(archive, target, lambda name: name.endswith(".nii.gz"), budget)
    return [(name, path.read_bytes()) for name, path in members]


def test_extracts_wanted_members(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {f"x/{NAME}": b"one", "y/b.nii.gz": b"two", "run.sh": b"no"})
    assert take_all(archive, tmp_path / "out") == [(f"x/{NAME}", b"one"), ("y/b.nii.gz", b"two")]
    assert len(list((tmp_path / "out").iterdir())) == 2


@pytest.mark.parametrize("name", OUTSIDE)
def test_path_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    archive = write_zip(tmp_path / "a.zip", {NAME: b"x", f"{name}.nii.gz": b"evil"})
    with pytest.raises(DataError, match=r"a\.zip is refused.*leaves the folder"):
        take_all(archive, tmp_path / "in" / "out")
    assert list(tmp_path.rglob("*evil*")) == []


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    info = zipfile.ZipInfo(NAME)
    info.create_system, info.external_attr = 3, (kind | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="is a link or device"):
        take_all(tmp_path / "a.zip", tmp_path / "out")


def test_encrypted_member_is_refused(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {NAME: b"x" * 100})
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1  # general purpose flags of the central directory
    archive.write_bytes(data)
    with pytest.raises(DataError, match="encrypted"):
        take_all(archive, tmp_path / "out")


def test_declared_size_over_the_limit_is_refused_before_writing(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {NAME: bytes(1000), f"b/{NAME}": bytes(1000)})
    with pytest.raises(DataError, match="max_unpacked_gb"):
        take_all(archive, tmp_path / "out", limit_bytes=1999)
    assert list((tmp_path / "out").iterdir()) == []
    assert len(take_all(archive, tmp_path / "out", limit_bytes=2000)) == 2


def test_limit_without_a_parameter(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {NAME: bytes(2000)})
    with pytest.raises(DataError, match=r"more than 1e-06 GB, too much here: unpack it yourself"):
        extract(archive, tmp_path / "out", lambda _: True, Budget(1000))


def test_sizes_are_counted_while_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_zip(tmp_path / "a.zip", {NAME: bytes(10**6)})
    monkeypatch.setattr(module, "_check_room", lambda *_: None)  # as if the declared size were small
    monkeypatch.setattr(module, "CHUNK_BYTES", 1000)
    with pytest.raises(DataError, match="max_unpacked_gb"):
        take_all(archive, tmp_path / "out", limit_bytes=10_000)
    assert (tmp_path / "out" / "00000").stat().st_size <= 10_000


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_MEMBERS", 1)
    with pytest.raises(DataError, match="has 2 members, at most 1"):
        take_all(write_zip(tmp_path / "a.zip", {NAME: b"", "b": b""}), tmp_path / "out")


def test_full_disk_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_zip(tmp_path / "a.zip", {NAME: b"x" * 100})
    data = bytearray(archive.read_bytes())
    start = data.index(b"PK\1\2") + 24  # declared size of the member
    data[start : start + 4] = (4 * 10**9).to_bytes(4, "little")
    archive.write_bytes(data)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**9))
    with pytest.raises(ResourceError, match=r"4\.0 GB.*1\.0 GB free"):
        take_all(archive, tmp_path / "out", limit_bytes=10**10)


def test_every_truncation_is_detected(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {NAME: b"some text that is stored"})
    data = archive.read_bytes()
    for length in range(len(data)):
        archive.write_bytes(data[:length])
        with pytest.raises(DataError, match=r"a\.zip"):
            take_all(archive, tmp_path / str(length))


def test_damage_is_detected_by_the_checksum(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {NAME: bytes(range(256)) * 8})
    data = bytearray(archive.read_bytes())
    data[60] ^= 0xFF
    archive.write_bytes(data)
    with pytest.raises(DataError, match=f"{NAME} cannot be read as zip"):
        take_all(archive, tmp_path / "out")
