"""Find MM-WHS files in folders, archives and downloads, and copy them under their published names."""

import gzip
import hashlib
import logging
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.inspect import Finding, Kind
from crossmodalnet.imaging.read import SUFFIXES
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.untrusted import CHUNK_BYTES, MAX_VOXELS, is_gzip
from crossmodalnet.io.archive import Budget, extract, normal_name
from crossmodalnet.io.console import track
from pipeline.cohort.fetch import fetch
from pipeline.cohort.guard import csv_in, existing_path
from pipeline.cohort.integrity import Scan, table
from pipeline.cohort.pairs import Subject
from pipeline.config.sections import DataConfig

logger = logging.getLogger(__name__)

Part = Literal["train", "test"]

REGISTRATION = "https://zmiclab.github.io/zxh/0/mmwhs/"
MAX_DEPTH = 3  # of archives in archives
COMPRESS_LEVEL = 1
# Published names and common variants: upper case, hyphens, mri, img, labels, (1).
_NAME = re.compile(
    r"(?P<modality>ct|mr)(?:(?<=mr)i)?[_-](?P<part>train|test)[_-](?P<number>\d{4})[_-]"
    r"(?:(?P<image>image|img)|(?:labels?|seg))(?: ?\(\d+\))?\.nii(?:\.gz)?",
    re.IGNORECASE | re.ASCII,
)
# Names that were probably meant for scans.
_NEARLY = re.compile(r"(?:ct|mri?)[ _.-]*(?:train|test)", re.IGNORECASE)
_PACKED = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".7z", ".rar", ".gz.part", ".crdownload")


@dataclass(frozen=True, order=True)
class CaseFile:
    """Parts of a published name: `part` is train (labelled) or test, `number` has four digits."""

    modality: Modality
    part: Part
    number: str
    kind: Kind

    @property
    def subject(self) -> str:
        """Subject, for instance `ct_1001`."""
        return f"{self.modality.value}_{self.number}"

    @property
    def file_name(self) -> str:
        """Published name, for instance `ct_train_1001_image.nii.gz`."""
        return f"{self.modality.value}_{self.part}_{self.number}_{self.kind}.nii.gz"


# Origin (relative path, or `archive.zip:member`), content, path, and whether it is unpacked and can be moved.
FoundFile = tuple[str, CaseFile, Path, bool]


def parse(path: str) -> CaseFile | None:
    """Parse the last part of a normalised path; None for other files and macOS's shadow files."""
    parts = PurePosixPath(path).parts
    match = _NAME.fullmatch(parts[-1]) if parts else None
    if match is None or "__MACOSX" in parts:
        return None
    part: Part = "train" if match["part"].lower() == "train" else "test"
    return CaseFile(Modality(match["modality"].lower()), part, match["number"], "image" if match["image"] else "label")


def is_hidden(path: str) -> bool:
    """Check whether a file belongs to the operating system: hidden, or a shadow file of macOS."""
    parts = PurePosixPath(path).parts
    if not parts or "__MACOSX" in parts:
        return True
    return parts[-1].startswith(".") or parts[-1] in ("Thumbs.db", "desktop.ini")


def is_near_miss(path: str) -> bool:
    """Check whether a file that `parse` rejects looks like a scan or an unsupported archive."""
    name = PurePosixPath(normal_name(path)).name.lower()
    if is_hidden(path) or parse(path) is not None or name.endswith(".zip"):
        return False
    return name.endswith((*SUFFIXES, *_PACKED, ".mgz", ".img")) or bool(_NEARLY.match(name))


def scans_in(folder: Path) -> list[Scan]:
    """List the scans with published names in a folder, sorted."""
    files: dict[tuple[Modality, Part, str], dict[str, Path]] = {}
    for path in sorted(folder.iterdir()):
        if case := parse(path.name):
            files.setdefault((case.modality, case.part, case.number), {})[case.kind] = path
    return [
        Scan(
            f"{modality.value}_{number}", modality, kinds.get("image"), kinds.get("label"),
            needs_label=part == "train",
        )
        for (modality, part, number), kinds in sorted(files.items())
    ]  # fmt: skip


def subjects_of(scans: list[Scan]) -> list[Subject]:
    """Return the subjects of a checked cohort."""
    return [Subject(scan.name, scan.modality, scan.image, scan.label) for scan in scans if scan.image]


def lay_out_mmwhs(folder: Path, params: DataConfig, section: str = "data") -> tuple[Mapping[str, str], list[Finding]]:
    """Copy a cohort into an empty folder under its published names.

    Files are copied, not linked, because DVC makes its files read-only. Return the origin of each published name, and
    findings. DataError for no source, no files or a refused archive; ResourceError for no network or no disk space.
    """
    sources = _sources(params, section)
    scratch = folder / ".unpacked"
    search = _Search(scratch, Budget(int(params.max_unpacked_gb * 1e9), f"{section}.max_unpacked_gb"))
    files = [file for source in sources for file in search.files_of(source)]
    left_out = search.findings()
    if not files:
        csv = "".join(csv_in(source) for source in sources)
        named = f"\n{table(left_out)}" if left_out and not csv else ""
        raise DataError(
            f"no MM-WHS files in {', '.join(str(source) for source in sources)}: "
            f"looked, at any depth, for names like ct_train_1001_image.nii.gz and mr_train_1001_label.nii.gz{named}"
            f"\nof your own data, give a table{csv}: patient,modality,image,label (docs/own_data.md)"
        )
    origins: dict[str, str] = {}
    findings: list[Finding] = []
    ordered = sorted(files, key=lambda file: (file[1], file[0]))
    for origin, case, path, is_ours in track(ordered, "collect", len(ordered)):
        name = case.file_name
        target = folder / name
        if problem := _unreadable(path):
            remedy = "copy or download the file again, fetch what the link stands for, or take it out"
            findings.append(Finding("error", problem, remedy, case.subject, origin))
        elif not target.exists():
            origins[name] = origin
            place_packed(path, target, move=is_ours)
        elif _content(path) == _content(target):
            logger.info("%s: the same as %s, used once", origin, origins[name])
        else:
            what = f"duplicate subject {case.subject}: differs from {origins[name]}"
            remedy = "keep one of the two, or give the subject another number"
            findings.append(Finding("error", what, remedy, case.subject, origin))
    shutil.rmtree(scratch, ignore_errors=True)
    return origins, findings + left_out


def place_packed(source: Path, target: Path, *, move: bool = False) -> None:
    """Copy a file, or move it if compressed, to `target` as gzip; the bytes are reproducible."""
    if not is_gzip(source):
        # Without name and time in the header, the bytes are reproducible.
        with source.open("rb") as plain, target.open("wb") as packed, gzip.GzipFile(
            filename="", mode="wb", compresslevel=COMPRESS_LEVEL, fileobj=packed, mtime=0
        ) as sink:  # fmt: skip
            shutil.copyfileobj(plain, sink, CHUNK_BYTES)
    elif move:
        source.replace(target)
    else:
        shutil.copyfile(source, target)


def _content(path: Path) -> str:
    """Hash the unpacked content; the stored bytes where it is damaged or too long."""
    digest, total = hashlib.sha256(), 0
    try:
        with gzip.open(path) if is_gzip(path) else path.open("rb") as stream:
            while chunk := stream.read(CHUNK_BYTES):
                digest.update(chunk)
                if (total := total + len(chunk)) > 8 * MAX_VOXELS:
                    raise OSError("too long")
    except (OSError, EOFError, ValueError):
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return digest.hexdigest()


def _unreadable(path: Path) -> str | None:
    """Explain why a file cannot be opened, or None; pipes are not opened, they would block."""
    if path.is_symlink() and not path.exists():
        return f"a link that leads nowhere: {path.readlink()}"
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return "no regular file"
        with path.open("rb"):
            return None
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"


def _sources(params: DataConfig, section: str) -> list[Path]:
    paths = [params.path] if isinstance(params.path, str) else params.path or []
    if not paths and not params.urls:
        raise DataError(
            f"{section}.source is mmwhs, but neither {section}.path nor {section}.urls is given. MM-WHS is free for "
            f"research: register at {REGISTRATION}, download the archives, then set in params.yaml {section}.path "
            f"to their folder or to one or more zip archives, or {section}.urls to a list of {{url, sha256}}"
        )
    existing = [existing_path(path, f"{section}.path") for path in paths]
    max_bytes = int(params.max_unpacked_gb * 1e9)
    return [*existing, *(fetch(archive, max_bytes, section) for archive in params.urls)]


def _is_archive(name: str) -> bool:
    return name.lower().endswith(".zip") and not is_hidden(name)


class _LostFilesError(DataError):
    """A nested archive lists files of the cohort and cannot be unpacked."""


class _Search:
    """Search for the files of a cohort at any depth, and note skipped files."""

    def __init__(self, scratch: Path, budget: Budget) -> None:
        self._scratch, self._budget = scratch, budget
        self._left_out: list[tuple[str, str]] = []
        self._errors: list[Finding] = []

    def files_of(self, source: Path) -> Iterator[FoundFile]:
        """Find the cohort's files in a folder or archive."""
        if source.is_dir():
            for path in self._walk(source):
                name = path.relative_to(source).as_posix()
                yield from self._examine(path, name, name, depth=0)
        else:
            yield from self._unpack(source, source.name, depth=1)

    def findings(self) -> list[Finding]:
        """List the skipped files and why."""
        remedy = "add it under a name like ct_train_1001_image.nii.gz, or not"
        warnings = [Finding("warning", f"not taken: {why}", remedy, "all", name) for name, why in self._left_out]
        return [*self._errors, *warnings]

    def _walk(self, folder: Path) -> Iterator[Path]:
        """List all files below a folder, sorted; links are followed, each folder once."""
        seen: set[Path] = set()

        def note_unlisted(error: OSError) -> None:
            where = Path(error.filename or folder)
            name = where.relative_to(folder).as_posix() if where.is_relative_to(folder) else str(where)
            self._left_out.append((name, f"folder cannot be listed ({error.strerror})"))

        for top, folders, files in os.walk(folder, followlinks=True, onerror=note_unlisted):
            if (real := Path(top).resolve()) in seen:
                folders.clear()
                continue
            seen.add(real)
            folders.sort()
            yield from (Path(top, name) for name in sorted(files))

    def _examine(self, path: Path, name: str, origin: str, depth: int) -> Iterator[FoundFile]:
        name = normal_name(name)
        if case := parse(name):
            yield origin, case, path, depth > 0
        elif is_hidden(name):
            return
        elif _is_archive(name):
            yield from self._unpack_nested(path, origin, depth)
        elif path.is_symlink() and not path.exists():
            self._left_out.append((origin, f"a link that leads nowhere: {path.readlink()}"))
        elif is_near_miss(name):
            self._left_out.append((origin, "its name is none of MM-WHS"))

    def _unpack_nested(self, path: Path, origin: str, depth: int) -> Iterator[FoundFile]:
        if depth >= MAX_DEPTH:
            self._left_out.append((origin, f"an archive in {MAX_DEPTH} archives"))
            return
        try:
            yield from self._unpack(path, origin, depth + 1)
        except _LostFilesError as error:
            remedy = "download it again, or unpack it yourself, or take it out"
            self._errors.append(Finding("error", str(error), remedy, "all", origin))
        except DataError as error:
            if self._budget.is_spent:
                raise
            self._left_out.append((origin, str(error)))

    def _unpack(self, path: Path, origin: str, depth: int) -> Iterator[FoundFile]:
        if problem := _unreadable(path):
            raise DataError(f"{path}: {problem}")
        self._scratch.mkdir(exist_ok=True)
        target = self._scratch / f"{len(list(self._scratch.iterdir())):05d}"
        cohort_files: list[str] = []

        def wanted(name: str) -> bool:
            if parse(name) is not None:
                cohort_files.append(name)
                return True
            return _is_archive(name)

        def note_other(name: str) -> None:
            if is_near_miss(name):
                self._left_out.append((f"{origin}:{name}", "its name is none of MM-WHS"))

        try:
            members = extract(path, target, wanted, self._budget, note_other)
        except DataError as error:
            if cohort_files and not self._budget.is_spent:
                raise _LostFilesError(f"holds {cohort_files[0]} and others, and {error}") from error
            raise
        for name, member in members:
            yield from self._examine(member, name, f"{origin}:{name}", depth)
