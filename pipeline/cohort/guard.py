"""Protect the user's files: DVC empties the outputs of a stage before it runs."""

import configparser
import hashlib
import json
import os
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd

from crossmodalnet.errors import DataError, UsageError
from crossmodalnet.imaging.untrusted import is_stored
from crossmodalnet.io.outputs import write_json
from pipeline.cohort.nnunet import is_nnunet, read_nnunet
from pipeline.cohort.table import read_table_file
from pipeline.config.sections import DataConfig, TargetConfig
from pipeline.runtime.paths import MANIFEST, OUTPUTS, RAW
from pipeline.runtime.work import work_folder

# Unsafe beside the outputs: folders that may be deleted at any time.
DISPOSABLE = (Path(".work"), Path(".dvc/cache"), Path(".git"))
WRITTEN = "written.json"
MAX_LINKS_SEEN = 1_000_000
MAX_NAMED = 5


def path_problems(data: DataConfig, target: TargetConfig | None) -> list[str]:
    """List input paths that DVC would delete, and files in data/raw that no stage wrote."""
    problems: list[str] = []
    sections = [("data", data.path, data.urls)]
    if target is not None:
        sections.append(("adapt.target", target.path, target.urls))
    for section, given, urls in sections:
        for text in [given] if isinstance(given, str) else given or []:
            try:
                path = existing_path(text, f"{section}.path")
                if data.source == "table" and section == "data":
                    problems += _scan_problems(path)
            except UsageError as error:
                problems.append(str(error))
            except (DataError, OSError):
                continue
        for archive in urls:
            if local := local_archive(archive.url):
                problems += _dangers(f"{section}.urls", local)
    problems += [foreign_message(names) for top in tops() if (names := foreign_files(top))]
    return list(dict.fromkeys(problems))


def _scan_problems(path: Path) -> list[str]:
    """Check the files that a table or an nnU-Net folder lists, without opening them."""
    if path.is_dir() and not is_nnunet(path):
        return []
    table = read_nnunet(path) if path.is_dir() else read_table_file(path)
    return [
        problem
        for scan in table.scans
        for file in (scan.image, scan.label)
        if file
        for problem in _dangers(f"data.path names {scan.title}", file)
    ]


def existing_path(text: str, key: str) -> Path:
    """Resolve the path of a parameter, relative to the working folder or `$DVC_ROOT`; `~` is the home folder.

    DataError if it cannot be read, UsageError if it lies where DVC deletes files; `key` is named in both.
    """
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        raise DataError(f"{key} = {text}: no home folder is known ({error}): write the whole path") from error
    # `dvc exp run --temp` runs in a copy without untracked files.
    for top in tops():
        try:
            (top / path).stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:
            raise DataError(f"{key} = {text} cannot be read ({error})") from error
        refuse_outputs(key, top / path)
        return top / path
    raise DataError(f"{key} = {text} does not exist (seen from {Path.cwd()})")


def csv_in(folder: Path) -> str:
    """Propose a table that lies in a folder, for messages; empty without one."""
    return next((f", for instance {path}" for path in sorted(folder.glob("*.[cC][sS][vV]"))), "")


def local_archive(url: str) -> Path | None:
    """Return the path of a `file://` address; None for others."""
    address = urlsplit(url)
    return Path(urllib.request.url2pathname(address.path)) if address.scheme == "file" else None


def tops() -> list[Path]:
    """List the folders with outputs: the working folder, and `$DVC_ROOT` if it differs."""
    return list(dict.fromkeys([Path.cwd(), Path(os.environ.get("DVC_ROOT", Path.cwd()))]))


def refuse_outputs(key: str, path: Path) -> None:
    """Raise UsageError if a path is, lies in or holds an output, links followed."""
    if dangers := _dangers(key, path):
        raise UsageError(dangers[0])


def _dangers(key: str, path: Path) -> list[str]:
    """Describe the first output that endangers a path, and the remedy."""
    outputs = [(output, top / output) for top in tops() for output in (*OUTPUTS, *DISPOSABLE)]
    dangers = [f"{relation} {name}" for name, output in outputs if (relation := _relation(path, output))]
    if not dangers and path.is_dir():
        link = next(_links_into([_real(output) for _, output in outputs], path), None)
        dangers = [f"holds the link {link}, which leads into an output of a stage"] if link else []
    return [
        f"{key} = {path} {danger}, and DVC deletes what lies there before it runs a stage: nothing was "
        f"touched; move your files to a folder of their own, for instance data/mine, and set {key} to it"
        for danger in dangers[:1]
    ]


def is_output(path: Path) -> bool:
    """Check whether a folder is an output of a stage."""
    return any(_real(path) == _real(top / output) for top in tops() for output in OUTPUTS)


def _relation(path: Path, output: Path) -> str | None:
    """Relate a path to an output, both as written and, but for files under `dvc add`, with links resolved."""
    ways = [_spelled] if path.is_symlink() and is_stored(_real(path)) else [_spelled, _real]
    for mine, theirs in ((way(path), way(output)) for way in ways):
        if mine == theirs or _same(mine, theirs):
            return "is"
        if theirs in mine.parents or any(_same(parent, theirs) for parent in mine.parents):
            return "lies in"
        if mine in theirs.parents and mine.is_dir():
            return "holds"
    return None


def _spelled(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100  # `..` without following links


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _same(a: Path, b: Path) -> bool:
    """Check whether two paths are one place, despite mounts or case."""
    try:
        return a.samefile(b)
    except OSError:
        return False


def _links_into(outputs: Sequence[Path], folder: Path) -> Iterator[Path]:
    """List links below a folder that lead into an output: DVC would delete the linked files."""
    seen = 0
    for top, folders, files in os.walk(folder):
        for link in (Path(top, name) for name in (*folders, *files)):
            if not link.is_symlink() or is_stored(_real(link)):
                continue
            if any(out == _real(link) or out in _real(link).parents for out in outputs):
                yield link.relative_to(folder)
        seen += len(folders) + len(files)
        if seen > MAX_LINKS_SEEN:
            return


def foreign_files(top: Path) -> list[str]:
    """List the files in data/raw that are not in the manifest.

    Listed files count too if neither their size was recorded nor their content is in DVC's cache.
    """
    folder = top / RAW
    if not folder.is_dir():
        return []
    named = {MANIFEST.name, *_manifest_files(top / MANIFEST)}
    sizes = _written_sizes(top)
    foreign = []
    for path in sorted(path for path in folder.rglob("*") if not path.is_dir()):
        name = path.relative_to(folder).as_posix()
        if name not in named or (sizes and not _is_ours(path, sizes.get(name, []), top)):
            foreign.append(name)
    return foreign


def foreign_message(names: Sequence[str]) -> str:
    """Say how to protect files in data/raw that no stage wrote."""
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return (
        f"data/raw holds files that no stage wrote ({', '.join(names[:MAX_NAMED])}{more}); DVC deletes that folder "
        "before it fills it: nothing was touched; move your files to a folder of their own, for instance data/mine, "
        "and set data.path to it"
    )


def refuse_foreign(top: Path) -> None:
    """Raise UsageError if data/raw holds files that no stage wrote."""
    if names := foreign_files(top):
        raise UsageError(foreign_message(names))


def note_written(folder: Path) -> None:
    """Record the sizes of the files that stage `download` has just written, beside earlier ones."""
    sizes = _written_sizes(Path.cwd())
    for path in folder.iterdir():
        of_file = sizes.setdefault(path.name, [])
        if (size := path.stat().st_size) not in of_file:
            of_file.append(size)
    write_json(work_folder("download", "record") / WRITTEN, sizes)


def _written_sizes(top: Path) -> dict[str, list[int]]:
    record = Path(os.environ.get("DVC_ROOT", top)) / ".work/download/record" / WRITTEN
    try:
        sizes: dict[str, list[int]] = json.loads(record.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return sizes


def _manifest_files(path: Path) -> set[str]:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        return {*table["image"], *table["label"]}
    except (OSError, ValueError, KeyError):
        return set()


def _is_ours(path: Path, sizes: Sequence[int], top: Path) -> bool:
    """Check whether a file has a recorded size, or its content is in DVC's cache."""
    try:
        # DVC removes no links but those into its cache.
        if path.is_symlink() or path.stat().st_size in sizes:
            return True
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError:
        return False
    caches = _caches(Path(os.environ.get("DVC_ROOT", top)))
    return any((cache / "files/md5" / digest[:2] / digest[2:]).exists() for cache in caches)


def _caches(root: Path) -> list[Path]:
    """List DVC's caches: the default, and those configured in the repository."""
    caches = [root / ".dvc/cache"]
    for name in ("config", "config.local"):
        config = configparser.ConfigParser(interpolation=None)
        try:
            config.read(root / ".dvc" / name, "utf-8")
            caches.append(root / ".dvc" / config["cache"]["dir"])
        except (configparser.Error, KeyError, UnicodeDecodeError):
            continue
    return caches
