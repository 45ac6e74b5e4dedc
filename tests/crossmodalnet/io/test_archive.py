import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from crossmodalnet.errors import DataError, ResourceError
from crossmodalnet.io import archive as module
from crossmodalnet.io.archive import Budget, extract

Zipped = Callable[[str, dict[str, bytes]], Path]
NAME = "ct_train_1001_image.nii.gz"


@pytest.fixture
def zipped(tmp_path: Path) -> Zipped:
    """Make a deflated archive of the given members."""

    def make(name: str, members: dict[str, bytes]) -> Path:
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, content in members.items():
                archive.writestr(member, content)
        return tmp_path / name

    return make


def take_all(archive: Path, target: Path, limit_bytes: int = 10**6) -> list[tuple[str, bytes]]:
    members = extract(
        archive, target, lambda name: name.endswith(".nii.gz"), Budget(limit_bytes, "data.max_unpacked_gb")
    )
    return [(name, path.read_bytes()) for name, path in members]


def test_extracts_wanted_members(zipped: Zipped, tmp_path: Path) -> None:
    archive = zipped("a.zip", {f"x/{NAME}": b"one", "y/b.nii.gz": b"two", "run.sh": b"no"})
    assert take_all(archive, tmp_path / "out") == [(f"x/{NAME}", b"one"), ("y/b.nii.gz", b"two")]
    assert len(list((tmp_path / "out").iterdir())) == 2


OUTSIDE = ["../evil", "/etc/evil", "a/../../evil", "C:/evil", "..\\evil", "C:\\evil", "\\\\host\\evil"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_path_outside_the_folder_is_refused(zipped: Zipped, tmp_path: Path, name: str) -> None:
    archive = zipped("a.zip", {NAME: b"x", f"{name}.nii.gz": b"evil"})
    with pytest.raises(DataError, match=r"a\.zip is refused.*leaves the folder"):
        take_all(archive, tmp_path / "in" / "out")
    assert list(tmp_path.rglob("*evil*")) == []


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    info = zipfile.ZipInfo(NAME)
    info.create_system = 3
    info.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="is a link or device"):
        take_all(tmp_path / "a.zip", tmp_path / "out")


def test_encrypted_member_is_refused(zipped: Zipped, tmp_path: Path) -> None:
    archive = zipped("a.zip", {NAME: b"x" * 100})
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1  # general purpose flags of the central directory
    archive.write_bytes(data)
    with pytest.raises(DataError, match="encrypted"):
        take_all(archive, tmp_path / "out")


def test_declared_size_over_the_limit_is_refused_before_writing(zipped: Zipped, tmp_path: Path) -> None:
    archive = zipped("a.zip", {NAME: bytes(1000), f"b/{NAME}": bytes(1000)})
    with pytest.raises(DataError, match="max_unpacked_gb"):
        take_all(archive, tmp_path / "out", limit_bytes=1999)
    assert list((tmp_path / "out").iterdir()) == []
    assert len(take_all(archive, tmp_path / "out", limit_bytes=2000)) == 2


def test_limit_without_a_parameter(zipped: Zipped, tmp_path: Path) -> None:
    archive = zipped("a.zip", {NAME: bytes(2000)})
    with pytest.raises(DataError, match=r"more than 1e-06 GB, too much here: unpack it yourself"):
        extract(archive, tmp_path / "out", lambda _: True, Budget(1000))


def test_sizes_are_counted_while_writing(
    zipped: Zipped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = zipped("a.zip", {NAME: bytes(10**6)})
    monkeypatch.setattr(module, "_check_room", lambda *_: None)  # as if the declared size were small
    monkeypatch.setattr(module, "CHUNK_BYTES", 1000)
    with pytest.raises(DataError, match="max_unpacked_gb"):
        take_all(archive, tmp_path / "out", limit_bytes=10_000)
    assert (tmp_path / "out" / "00000").stat().st_size <= 10_000


def test_zip_bomb_is_refused(zipped: Zipped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = zipped("a.zip", {NAME: bytes(10**7)})
    monkeypatch.setattr(module, "RATIO_GRACE_BYTES", 10**6)
    with pytest.raises(DataError, match="times its size"):
        take_all(archive, tmp_path / "out", limit_bytes=10**8)


def test_too_many_members_are_refused(
    zipped: Zipped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_MEMBERS", 1)
    with pytest.raises(DataError, match="has 2 members, at most 1"):
        take_all(zipped("a.zip", {NAME: b"", "b": b""}), tmp_path / "out")


def test_full_disk_is_reported(zipped: Zipped, tmp_path: Path) -> None:
    archive = zipped("a.zip", {NAME: b"x" * 100})
    data = bytearray(archive.read_bytes())
    start = data.index(b"PK\1\2") + 24  # declared size of the member
    data[start : start + 4] = (4 * 10**9).to_bytes(4, "little")
    archive.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10**9}))
        with pytest.raises(ResourceError, match=r"4\.0 GB.*1\.0 GB free"):
            take_all(archive, tmp_path / "out", limit_bytes=10**10)


@pytest.mark.parametrize("content", [b"", b"not a zip archive", b"PK\3\4" + bytes(100)])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.zip cannot be read as zip"):
        take_all(tmp_path / "a.zip", tmp_path / "out")


def test_every_truncation_is_detected(zipped: Zipped, tmp_path: Path) -> None:
    archive = zipped("a.zip", {NAME: b"some text that is stored"})
    data = archive.read_bytes()
    for length in range(len(data)):
        archive.write_bytes(data[:length])
        with pytest.raises(DataError, match=r"a\.zip"):
            take_all(archive, tmp_path / str(length))


def test_damage_is_detected_by_the_checksum(zipped: Zipped, tmp_path: Path) -> None:
    archive = zipped("a.zip", {NAME: bytes(range(256)) * 8})
    data = bytearray(archive.read_bytes())
    data[60] ^= 0xFF
    archive.write_bytes(data)
    with pytest.raises(DataError, match=f"{NAME} cannot be read as zip"):
        take_all(archive, tmp_path / "out")
