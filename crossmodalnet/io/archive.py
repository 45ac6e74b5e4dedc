"""Extract files from untrusted zip archives, within limits."""

import logging
import lzma
import re
import shutil
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from crossmodalnet.errors import DataError, ResourceError

logger = logging.getLogger(__name__)

MAX_MEMBERS = 100_000
# Label maps, mostly background, compress well; deflate cannot exceed 1032.
MAX_RATIO = 1000
RATIO_GRACE_BYTES = 2**26
CHUNK_BYTES = 2**20
ENCRYPTED = 0x1
DAMAGE = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, NotImplementedError,
    RuntimeError, ValueError,
)  # fmt: skip


class Budget:
    """Bytes and members that all archives of a run may unpack to; `key` is the parameter of the limit."""

    def __init__(self, limit_bytes: int, key: str | None = None) -> None:
        self.limit_bytes = limit_bytes
        self.key = key
        self.left_bytes = limit_bytes
        self.left_members = MAX_MEMBERS

    @property
    def is_spent(self) -> bool:
        """Return True if a limit of the run was exceeded, which is no fault of one archive."""
        return self.left_bytes < 0 or self.left_members < 0

    def take_members(self, num_members: int, archive: Path) -> None:
        """Count the members of an archive; DataError if all archives together have too many."""
        self.left_members -= num_members
        if self.left_members < 0:
            raise DataError(
                f"{archive} has {num_members} members, at most {MAX_MEMBERS} are read of all archives together"
            )

    def take(self, num_bytes: int, archive: Path) -> None:
        """Spend bytes; DataError beyond the limit."""
        self.left_bytes -= num_bytes
        if self.left_bytes < 0:
            limit = f"{self.limit_bytes / 1e9:g} GB"
            raise DataError(
                f"{archive} unpacks to more than {self.key} = {limit}; raise it if the archive is what you expect"
                if self.key
                else f"{archive} unpacks to more than {limit}, too much here: unpack it yourself and give the folder"
            )


def normal_name(path: str) -> str:
    r"""Normalise a path in an archive: `/` between folders, Unicode NFKC.

    >>> normal_name("mmwhs\\ct\uff3ftrain_1001_image.nii")
    'mmwhs/ct_train_1001_image.nii'
    """
    return unicodedata.normalize("NFKC", path).replace("\\", "/")


def extract(
    archive: Path,
    target: Path,
    wanted: Callable[[str], bool],
    budget: Budget,
    others: Callable[[str], None] = lambda _: None,
) -> list[tuple[str, Path]]:
    """Extract the wanted members of a zip archive into numbered files, checksums verified.

    Bytes are counted while writing, whatever the headers say. `wanted`, `others` (skipped members) and the result have
    paths in `normal_name`'s form; `budget` is shared by the archives of a run.

    Raises:
        DataError: damaged, encrypted, a path that leaves the folder, a link, too large, or packed too well.
        ResourceError: not enough room on the disk.
    """
    try:
        opened = zipfile.ZipFile(archive)
    except DAMAGE as error:
        raise _damaged(archive, error) from error
    extracted: list[tuple[str, Path]] = []
    with opened:
        members = opened.infolist()
        _check_members(archive, members)
        budget.take_members(len(members), archive)
        chosen: list[tuple[str, zipfile.ZipInfo]] = []
        for info in members:
            name = normal_name(info.filename)
            if name.endswith("/"):
                continue
            if wanted(name):
                chosen.append((name, info))
            else:
                others(name)
        target.mkdir(parents=True, exist_ok=True)
        _check_room(archive, target, sum(info.file_size for _, info in chosen), budget)
        for number, (name, info) in enumerate(chosen):
            path = target / f"{number:05d}"
            _write(archive, opened, info, path, budget)
            extracted.append((name, path))
    logger.info("%s: took %d of %d files", archive, len(extracted), len(members))
    return extracted


def _check_members(archive: Path, members: list[zipfile.ZipInfo]) -> None:
    """Reject an archive with members that leave the folder, links or devices."""
    for info in members:
        name = normal_name(info.filename)
        if name.startswith("/") or ".." in name.split("/") or re.match(r"[A-Za-z]:", name) or "\0" in name:
            raise DataError(f"{archive} is refused: member {info.filename!r} leaves the folder it is unpacked to")
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DataError(f"{archive} is refused: member {info.filename!r} is a link or device, not a file")


def _check_room(archive: Path, target: Path, num_bytes: int, budget: Budget) -> None:
    if num_bytes > budget.left_bytes:
        budget.take(num_bytes, archive)
    if num_bytes > (free := shutil.disk_usage(target).free):
        raise ResourceError(
            f"{archive} unpacks to {num_bytes / 1e9:.1f} GB, {target} has {free / 1e9:.1f} GB free: make room"
        )


def _write(archive: Path, opened: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, budget: Budget) -> None:
    if info.flag_bits & ENCRYPTED:
        raise DataError(f"{archive}: {info.filename} is encrypted: unpack it yourself and give the folder")
    written = 0
    with path.open("xb") as file:
        for chunk in _chunks(archive, opened, info):
            written += len(chunk)
            budget.take(len(chunk), archive)
            if written > RATIO_GRACE_BYTES and written > MAX_RATIO * info.compress_size:
                raise DataError(f"{archive} is refused: {info.filename} unpacks to over {MAX_RATIO} times its size")
            file.write(chunk)


def _chunks(archive: Path, opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    # Separate from writing, whose OSErrors come from the disk.
    try:
        with opened.open(info) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                yield chunk
    except DAMAGE as error:
        raise _damaged(archive, error, info.filename) from error


def _damaged(archive: Path, error: Exception, member: str = "") -> DataError:
    where = f"{archive}: {member}" if member else f"{archive}"
    return DataError(
        f"{where} cannot be read as zip ({error}): download it again, or unpack it yourself and give the folder"
    )
