"""MM-WHS as the user has it: found in folders, archives and downloads, laid out under the published names."""

import gzip
import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from crossmodalnet.imaging.untrusted import CHUNK_BYTES, MAX_VOXELS, is_gzip
from pipeline.common.console import track
from pipeline.common.errors import DataError
from pipeline.sources.archive import Budget, extract
from pipeline.sources.fetch import fetch
from pipeline.sources.findings import CohortFinding
from pipeline.sources.names import CaseFile, parse
from pipeline.sources.packing import place_packed
from pipeline.sources.params import DataParams
from pipeline.sources.places import existing_path

logger = logging.getLogger(__name__)

REGISTRATION = "https://zmiclab.github.io/zxh/0/mmwhs/"
# An archive in an archive in an archive is as deep as it is looked into.
MAX_DEPTH = 3


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
        findings: files that have no place since another has their name.
    """

    origins: dict[str, str] = field(default_factory=dict)
    findings: list[CohortFinding] = field(default_factory=list)


def lay_out_mmwhs(folder: Path, params: DataParams) -> LayoutOutcome:
    """Fill an empty folder with the cohort that the parameters name, `ct_train_1001_image.nii.gz` and so on.

    Files of the user are copied, never linked: what happens to the originals afterwards does not reach the
    cohort, and DVC, which makes its files read-only, does not reach the originals.

    Args:
        folder: folder to be filled.
        params: `path` and `urls`.

    Raises:
        DataError: nothing given, nothing found, or an archive that is damaged or refused.
        ResourceError: no network or no disk space.
    """
    sources = _sources(params)
    scratch = folder / ".unpacked"
    budget = Budget(int(params.max_unpacked_gb * 1e9))
    found = [file for source in sources for file in _find(source, scratch, budget)]
    if not found:
        raise DataError(
            f"no MM-WHS files in {', '.join(str(source) for source in sources)}: "
            "looked, at any depth, for names like ct_train_1001_image.nii.gz and mr_train_1001_label.nii.gz"
        )
    laid_out = lay_out(found, folder)
    shutil.rmtree(scratch, ignore_errors=True)
    return laid_out


def lay_out(found: list[CohortFiles], folder: Path) -> LayoutOutcome:
    """Copy or move files to their published names; a name twice is a finding unless the content is equal."""
    result = LayoutOutcome()
    ordered = sorted(found, key=lambda file: (file.case, file.origin))
    for file in track(ordered, "collect", len(ordered)):
        name = file.case.file_name
        target = folder / name
        if not target.exists():
            result.origins[name] = file.origin
            place_packed(file.path, target, move=file.ours)
        elif _content(file.path) == _content(target):
            logger.info("%s: the same as %s, used once", file.origin, result.origins[name])
        else:
            what = f"duplicate subject {file.case.subject}: differs from {result.origins[name]}"
            remedy = "keep one of the two, or give the subject another number"
            result.findings.append(CohortFinding("error", file.case.subject, file.origin, what, remedy))
    return result


def _sources(params: DataParams) -> list[Path]:
    paths = [params.path] if isinstance(params.path, str) else params.path or []
    if not paths and not params.urls:
        raise DataError(
            "data.source is mmwhs, but neither data.path nor data.urls is given. MM-WHS is free for "
            f"research: register at {REGISTRATION}, download the archives, then set in params.yaml data.path "
            "to their folder or to one or more zip archives, or data.urls to a list of {url, sha256}"
        )
    existing = [existing_path(path) for path in paths]
    max_bytes = int(params.max_unpacked_gb * 1e9)
    return [*existing, *(fetch(archive, max_bytes) for archive in params.urls)]


def _find(source: Path, scratch: Path, budget: Budget) -> Iterator[CohortFiles]:
    if source.is_dir():
        for path in _walk(source):
            name = path.relative_to(source).as_posix()
            yield from _look_at(path, name, name, scratch, budget, depth=0)
    else:
        yield from _unpack(source, source.name, scratch, budget, depth=1)


def _walk(folder: Path) -> Iterator[Path]:
    """Give all files below a folder, in order; links to folders are followed, each folder once."""
    seen: set[Path] = set()
    for top, folders, files in os.walk(folder, followlinks=True):
        if (real := Path(top).resolve()) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        yield from (Path(top, name) for name in sorted(files))


def _look_at(
    path: Path, name: str, origin: str, scratch: Path, budget: Budget, depth: int
) -> Iterator[CohortFiles]:
    if case := parse(name):
        yield CohortFiles(case, path, origin, ours=depth > 0)
    elif _is_archive(name) and depth < MAX_DEPTH:
        yield from _unpack(path, origin, scratch, budget, depth + 1)


def _unpack(path: Path, origin: str, scratch: Path, budget: Budget, depth: int) -> Iterator[CohortFiles]:
    scratch.mkdir(exist_ok=True)
    target = scratch / f"{len(list(scratch.iterdir())):05d}"
    for member in extract(path, target, lambda name: parse(name) is not None or _is_archive(name), budget):
        yield from _look_at(member.path, member.name, f"{origin}:{member.name}", scratch, budget, depth)


def _is_archive(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return name.lower().endswith(".zip") and "__MACOSX" not in parts and not parts[-1].startswith("._")


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
