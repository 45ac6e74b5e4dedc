"""Find MM-WHS files in folders, archives and downloads, and lay them out under their published names."""

import gzip
import hashlib
import logging
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.read import SUFFIXES
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.untrusted import CHUNK_BYTES, MAX_VOXELS, is_gzip
from crossmodalnet.io.archive import Budget, extract, normal_name
from crossmodalnet.io.console import track
from pipeline.cohort.fetch import fetch
from pipeline.cohort.guard import existing_path
from pipeline.cohort.integrity import CaseFiles, CohortCheck, CohortFinding, Part, check_cases
from pipeline.cohort.pairs import Subject
from pipeline.config.sections import DataConfig
from pipeline.runtime.workers import ALL_CORES, RuntimeConfig

logger = logging.getLogger(__name__)


Kind = Literal["image", "label"]

# Published names, and what users and browsers make of them: upper case, hyphens, mri, img, labels, (1).
_NAME = re.compile(
    r"(?P<modality>ct|mr)(?:(?<=mr)i)?[_-](?P<part>train|test)[_-](?P<number>\d{4})[_-]"
    r"(?:(?P<image>image|img)|(?:labels?|seg))(?: ?\(\d+\))?\.nii(?:\.gz)?",
    re.IGNORECASE | re.ASCII,
)


@dataclass(frozen=True, order=True)
class CaseFile:
    """What a file's name says.

    Attributes:
        modality: CT or MR.
        part: training (labelled as published) or test (published without labels).
        number: four digits, for instance `1001`.
        kind: image or label map.
    """

    modality: Modality
    part: Part
    number: str
    kind: Kind

    @property
    def subject(self) -> str:
        """Name of the subject, for instance `ct_1001`."""
        return f"{self.modality.value}_{self.number}"

    @property
    def file_name(self) -> str:
        """The published name, for instance `ct_train_1001_image.nii.gz`."""
        return f"{self.modality.value}_{self.part}_{self.number}_{self.kind}.nii.gz"


# What a file that somebody took for a scan of the cohort begins with, whatever comes after.
_NEARLY = re.compile(r"(?:ct|mri?)[ _.-]*(?:train|test)", re.IGNORECASE)
_PACKED = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".7z", ".rar", ".gz.part", ".crdownload")


def is_hidden(path: str) -> bool:
    """Tell whether a file is the operating system's own: hidden, or a shadow that macOS makes."""
    parts = PurePosixPath(path).parts
    return (
        not parts
        or parts[-1].startswith(".")
        or "__MACOSX" in parts
        or parts[-1] in ("Thumbs.db", "desktop.ini")
    )


def is_near_miss(path: str) -> bool:
    """Tell whether a file that `parse` does not know looks like a scan, or like an archive that is not opened."""
    name = PurePosixPath(normal_name(path)).name.lower()
    if is_hidden(path) or parse(path) is not None or name.endswith(".zip"):
        return False
    return name.endswith((*SUFFIXES, *_PACKED, ".mgz", ".img")) or bool(_NEARLY.match(name))


def parse(path: str) -> CaseFile | None:
    """Read the last part of a path in `normal_name`'s form; None for any other file, macOS's shadow files included."""
    parts = PurePosixPath(path).parts
    match = _NAME.fullmatch(parts[-1]) if parts else None
    if match is None or "__MACOSX" in parts:
        return None
    part: Part = "train" if match["part"].lower() == "train" else "test"
    return CaseFile(
        Modality(match["modality"].lower()), part, match["number"], "image" if match["image"] else "label"
    )


COMPRESS_LEVEL = 1


def place_packed(source: Path, target: Path, *, move: bool = False) -> None:
    """Copy a file to `target`, compressed unless it is so already.

    Args:
        source: file.
        target: place of the copy.
        move: whether a compressed file may be moved instead, since it is ours.
    """
    if not is_gzip(source):
        # No name and no time in the header: the same bytes on every run.
        with source.open("rb") as plain, target.open("wb") as packed, gzip.GzipFile(
            filename="", mode="wb", compresslevel=COMPRESS_LEVEL, fileobj=packed, mtime=0
        ) as sink:  # fmt: skip
            shutil.copyfileobj(plain, sink, CHUNK_BYTES)
    elif move:
        source.replace(target)
    else:
        shutil.copyfile(source, target)


REGISTRATION = "https://zmiclab.github.io/zxh/0/mmwhs/"
# An archive in an archive in an archive is as deep as it is looked into.
MAX_DEPTH = 3
# Files left out whose names differ in numbers alone are listed one by one up to this many.
MAX_ALIKE = 8


@dataclass(frozen=True)
class CohortFiles:
    """A file of the cohort where it was found.

    Attributes:
        case: modality, part, number and kind that the file's name tells.
        path: path of the file.
        origin: origin as the user would name it: path below the given folder, `archive.zip:member`.
        ours: unpacked by us, so that it can be moved instead of copied.
    """

    case: CaseFile
    path: Path
    origin: str
    ours: bool

    @property
    def name(self) -> str:
        """For progress lines."""
        return self.origin


@dataclass
class LayoutOutcome:
    """What became of the files found.

    Attributes:
        origins: per published file name, where it came from.
        findings: files that have no place since another has their name, or that cannot be read, and those that look
            like scans and were not taken.
    """

    origins: dict[str, str] = field(default_factory=dict)
    findings: list[CohortFinding] = field(default_factory=list)


def lay_out_mmwhs(folder: Path, params: DataConfig, section: str = "data") -> LayoutOutcome:
    """Fill an empty folder with the cohort that the parameters name, `ct_train_1001_image.nii.gz` and so on.

    Files of the user are copied, never linked: what happens to the originals afterwards does not reach the
    cohort, and DVC, which makes its files read-only, does not reach the originals.

    Args:
        folder: folder to be filled.
        params: `path` and `urls`.
        section: section that they are of, for messages: `data` or `adapt.target`.

    Raises:
        DataError: nothing given, nothing found, or an archive that is damaged or refused.
        ResourceError: no network or no disk space.
    """
    sources = _sources(params, section)
    scratch = folder / ".unpacked"
    search = _Search(scratch, Budget(int(params.max_unpacked_gb * 1e9), f"{section}.max_unpacked_gb"))
    found = [file for source in sources for file in search.of(source)]
    left_out = search.findings()
    if not found:
        named = "".join(f"\n  {finding.file}: {finding.what}" for finding in left_out)
        raise DataError(
            f"no MM-WHS files in {', '.join(str(source) for source in sources)}: "
            f"looked, at any depth, for names like ct_train_1001_image.nii.gz and mr_train_1001_label.nii.gz{named}"
        )
    laid_out = lay_out(found, folder)
    laid_out.findings += left_out
    shutil.rmtree(scratch, ignore_errors=True)
    return laid_out


def lay_out(found: list[CohortFiles], folder: Path) -> LayoutOutcome:
    """Copy or move files to their published names; a name twice is a finding unless the content is equal."""
    result = LayoutOutcome()
    ordered = sorted(found, key=lambda file: (file.case, file.origin))
    for file in track(ordered, "collect", len(ordered)):
        name = file.case.file_name
        target = folder / name
        if problem := _unreadable(file.path):
            remedy = "copy or download the file again, fetch what the link stands for, or take it out"
            result.findings.append(CohortFinding("error", file.case.subject, file.origin, problem, remedy))
        elif not target.exists():
            result.origins[name] = file.origin
            place_packed(file.path, target, move=file.ours)
        elif _content(file.path) == _content(target):
            logger.info("%s: the same as %s, used once", file.origin, result.origins[name])
        else:
            what = f"duplicate subject {file.case.subject}: differs from {result.origins[name]}"
            remedy = "keep one of the two, or give the subject another number"
            result.findings.append(CohortFinding("error", file.case.subject, file.origin, what, remedy))
    return result


def _unreadable(path: Path) -> str | None:
    """Say why a file cannot be opened; None where it can. A pipe is not opened: it would wait for ever."""
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


class _LostDataError(DataError):
    """An archive that holds files of the cohort which cannot be had."""


class _Search:
    """Looks for the files of a cohort, at any depth, and notes what it leaves out.

    Args:
        scratch: folder that archives are unpacked to, made if need be.
        budget: shared by all archives.
    """

    def __init__(self, scratch: Path, budget: Budget) -> None:
        self._scratch, self._budget = scratch, budget
        self._left_out: list[tuple[str, str]] = []
        self._lost: list[CohortFinding] = []

    def of(self, source: Path) -> Iterator[CohortFiles]:
        """Give the files of a folder or archive that the user names.

        Raises:
            DataError: the archive itself is damaged or refused, or there is more than the limits allow.
        """
        if source.is_dir():
            for path in self._walk(source):
                name = path.relative_to(source).as_posix()
                yield from self._look_at(path, name, name, depth=0)
        else:
            yield from self._unpack(source, source.name, depth=1)

    def findings(self) -> list[CohortFinding]:
        """List what was left out and why, a row each; many of one kind of name in one row."""
        kinds: dict[tuple[str, str], list[str]] = {}
        for name, why in self._left_out:
            kinds.setdefault((re.sub(r"\d+", "#", PurePosixPath(name).name), why), []).append(name)
        rows = []
        for (_, why), names in kinds.items():
            rows += [(name, why) for name in names[:MAX_ALIKE]]
            if more := len(names) - MAX_ALIKE:
                rows += [(f"{more} more like {names[0]}", why)] if more > 0 else []
        remedy = "add it under a name like ct_train_1001_image.nii.gz, or not"
        listed = [CohortFinding("warning", "all", name, f"not taken: {why}", remedy) for name, why in rows]
        return [*self._lost, *listed]

    def _walk(self, folder: Path) -> Iterator[Path]:
        """Give all files below a folder, in order; links to folders are followed, each folder once."""
        seen: set[Path] = set()

        def unlisted(error: OSError) -> None:
            where = Path(error.filename or folder)
            name = where.relative_to(folder).as_posix() if where.is_relative_to(folder) else str(where)
            self._left_out.append((name, f"folder cannot be listed ({error.strerror})"))

        for top, folders, files in os.walk(folder, followlinks=True, onerror=unlisted):
            if (real := Path(top).resolve()) in seen:
                folders.clear()
                continue
            seen.add(real)
            folders.sort()
            yield from (Path(top, name) for name in sorted(files))

    def _look_at(self, path: Path, name: str, origin: str, depth: int) -> Iterator[CohortFiles]:
        name = normal_name(name)
        if case := parse(name):
            yield CohortFiles(case, path, origin, ours=depth > 0)
        elif is_hidden(name):
            return
        elif _is_archive(name):
            if depth >= MAX_DEPTH:
                self._left_out.append((origin, f"an archive in {MAX_DEPTH} archives"))
                return
            try:
                yield from self._unpack(path, origin, depth + 1)
            except _LostDataError as error:
                remedy = "download it again, or unpack it yourself, or take it out"
                self._lost.append(CohortFinding("error", "all", origin, str(error), remedy))
            except DataError as error:
                if self._budget.is_spent:
                    raise
                # Beside the data, perhaps of no concern: nobody knows what it holds.
                self._left_out.append((origin, str(error)))
        elif path.is_symlink() and not path.exists():
            self._left_out.append((origin, f"a link that leads nowhere: {path.readlink()}"))
        elif is_near_miss(name):
            self._left_out.append((origin, "its name is none of MM-WHS"))

    def _unpack(self, path: Path, origin: str, depth: int) -> Iterator[CohortFiles]:
        if problem := _unreadable(path):
            raise DataError(f"{path}: {problem}")
        self._scratch.mkdir(exist_ok=True)
        target = self._scratch / f"{len(list(self._scratch.iterdir())):05d}"

        def other(name: str) -> None:
            if is_near_miss(name):
                self._left_out.append((f"{origin}:{name}", "its name is none of MM-WHS"))

        holds: list[str] = []

        def wanted(name: str) -> bool:
            if parse(name) is not None:
                holds.append(name)
            return parse(name) is not None or _is_archive(name)

        try:
            members = extract(path, target, wanted, self._budget, other)
        except DataError as error:
            if holds and depth > 0 and not self._budget.is_spent:
                raise _LostDataError(f"holds {holds[0]} and others, and {error}") from error
            raise
        for member in members:
            yield from self._look_at(member.path, member.name, f"{origin}:{member.name}", depth)


def _is_archive(name: str) -> bool:
    return name.lower().endswith(".zip") and not is_hidden(name)


def _content(path: Path) -> str:
    """Digest what a file holds, unpacked; as stored where it is damaged or absurdly long."""
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


def scan(folder: Path) -> list[CaseFiles]:
    """List the subjects in a folder of published file names, in order; other files are not looked at."""
    files: dict[tuple[Modality, Part, str], dict[str, Path]] = {}
    for path in sorted(folder.iterdir()):
        if case := parse(path.name):
            files.setdefault((case.modality, case.part, case.number), {})[case.kind] = path
    return [
        CaseFiles(f"{modality.value}_{number}", modality, part, kinds.get("image"), kinds.get("label"))
        for (modality, part, number), kinds in sorted(files.items())
    ]


def subjects(folder: Path) -> list[Subject]:
    """The subjects of a cohort that passed the check, for the manifest."""
    return [Subject(case.name, case.modality, case.image, case.label) for case in scan(folder) if case.image]


def check_cohort(
    folder: Path,
    origins: Mapping[str, str] | None = None,
    runtime: RuntimeConfig = ALL_CORES,
    *,
    needs_labels: bool = True,
) -> list[CohortFinding]:
    """Read all files of a cohort to their ends and list all that is wrong with it.

    Args:
        folder: files under their published names.
        origins: per file name, how the user knows the file.
        runtime: section `runtime`.
        needs_labels: whether training images without label maps, and too few labelled subjects, are errors.
    """
    return check_folder(folder, origins, runtime, needs_labels=needs_labels).findings


def check_folder(
    folder: Path,
    origins: Mapping[str, str] | None = None,
    runtime: RuntimeConfig = ALL_CORES,
    *,
    needs_labels: bool = True,
) -> CohortCheck:
    """Do what `check_cohort` does, and tell what reading each file told."""
    names = origins or {}
    return check_cases(
        scan(folder),
        lambda path: names.get(path.name, path.name),
        runtime=runtime,
        needs_labels=needs_labels,
    )
