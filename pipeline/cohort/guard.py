"""Keep the user's files out of the folders where DVC deletes."""

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
from crossmodalnet.io.outputs import write_json
from pipeline.cohort.nnunet import is_nnunet, read_nnunet
from pipeline.cohort.table import read_table_file
from pipeline.config.sections import Archive, DataConfig, TargetConfig
from pipeline.runtime.paths import MANIFEST, OUTPUTS, RAW
from pipeline.runtime.work import work_folder

# Beside the outputs: what this project or DVC may delete at any time, and the repository itself.
DISPOSABLE = (Path(".work"), Path(".dvc/cache"), Path(".git"))
WRITTEN = "written.json"
MAX_LINKS_SEEN = 1_000_000
MAX_NAMED = 5


def tops() -> list[Path]:
    """Give the folders whose outputs are in danger: the working folder, and `$DVC_ROOT` where it is another."""
    return list(dict.fromkeys([Path.cwd(), Path(os.environ.get("DVC_ROOT", Path.cwd()))]))


def refuse_outputs(key: str, path: Path, where: Sequence[Path] = ()) -> None:
    """Refuse a path of the user's that lies in an output of a stage, is one, or holds one, links followed.

    Args:
        key: name of the parameter, for the message.
        path: path as it was found.
        where: tops of the repositories; those of `tops` if empty.

    Raises:
        UsageError: the path is in danger; says where the files could lie instead.
    """
    if danger := endangered(path, where or tops()):
        raise UsageError(
            f"{key} = {path} {danger}, and DVC deletes what lies there before it runs a stage: nothing was touched; "
            f"move your files to a folder of their own, for instance data/mine, and set {key} to it"
        )


def endangered(path: Path, where: Sequence[Path]) -> str | None:
    """Say what an existing path has to do with the outputs of stages; None where it has nothing to do with them."""
    for top in where:
        for output in (*OUTPUTS, *DISPOSABLE):
            if relation := _relation(path, top / output):
                return f"{relation} {output}"
    return next(_links_into_outputs(path, where), None) if path.is_dir() else None


def is_output(path: Path) -> bool:
    """Tell whether a folder is an output of a stage, of this repository."""
    return any(_real(path) == _real(top / output) for top in tops() for output in OUTPUTS)


def _relation(path: Path, output: Path) -> str | None:
    """Tell how a path lies to an output, as written and with all links followed."""
    for mine, theirs in ((_spelled(path), _spelled(output)), (_real(path), _real(output))):
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
    """Tell whether two paths are one place, as they may be where case does not matter, or by a mount."""
    try:
        return a.samefile(b)
    except OSError:
        return False


def _links_into_outputs(folder: Path, where: Sequence[Path]) -> Iterator[str]:
    """Say which link below a folder leads into an output: removing the output would take the file that it shows."""
    outputs = [_real(top / output) for top in where for output in (*OUTPUTS, *DISPOSABLE)]
    seen = 0
    for top, folders, files in os.walk(folder):
        for name in (*folders, *files):
            seen += 1
            link = Path(top, name)
            if link.is_symlink() and any(out == _real(link) or out in _real(link).parents for out in outputs):
                yield f"holds the link {link.relative_to(folder)}, which leads into an output of a stage"
        if seen > MAX_LINKS_SEEN:
            return


def local_archive(url: str) -> Path | None:
    """Give the path of a `file://` address; None for others."""
    address = urlsplit(url)
    return Path(urllib.request.url2pathname(address.path)) if address.scheme == "file" else None


def foreign_files(top: Path) -> list[str]:
    """List the files in data/raw that stage `download` did not write and DVC does not keep: somebody put them there.

    What the manifest does not name is foreign; what it names is, where its size is none that this stage has ever
    written and its content is not in DVC's cache.
    """
    folder = top / RAW
    if not folder.is_dir():
        return []
    known = {MANIFEST.name, *_manifest_files(top / MANIFEST)}
    sizes = _written(top)
    found = []
    for path in sorted(path for path in folder.rglob("*") if not path.is_dir()):
        name = path.relative_to(folder).as_posix()
        if name not in known or (sizes and not _is_ours(path, sizes.get(name, []), top)):
            found.append(name)
    return found


def foreign_message(names: Sequence[str]) -> str:
    """Say what to do about files in data/raw that no stage wrote."""
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return (
        f"data/raw holds files that no stage wrote ({', '.join(names[:MAX_NAMED])}{more}); DVC deletes that folder "
        "before it fills it: nothing was touched; move your files to a folder of their own, for instance data/mine, "
        "and set data.path to it"
    )


def refuse_foreign(top: Path) -> None:
    """Refuse to replace data/raw where it holds files that no stage wrote.

    Raises:
        UsageError: it does; names them.
    """
    if names := foreign_files(top):
        raise UsageError(foreign_message(names))


def note_written(folder: Path) -> None:
    """Note the sizes of the files that stage `download` has just written into a folder, beside earlier ones."""
    sizes = _written(Path.cwd())
    for path in folder.iterdir():
        known = sizes.setdefault(path.name, [])
        if (size := path.stat().st_size) not in known:
            known.append(size)
    write_json(work_folder("download", "record") / WRITTEN, sizes)


def _written(top: Path) -> dict[str, list[int]]:
    try:
        root = Path(os.environ.get("DVC_ROOT", top))
        sizes: dict[str, list[int]] = json.loads(
            (root / ".work/download/record" / WRITTEN).read_text("utf-8")
        )
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
    """Tell whether a file has a size that was written here, or its content is in DVC's cache."""
    try:
        if path.stat().st_size in sizes:
            return True
        if path.is_symlink():  # into the cache: DVC refuses to remove what it did not link
            return True
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError:
        return False
    caches = _caches(Path(os.environ.get("DVC_ROOT", top)))
    return any((cache / "files/md5" / digest[:2] / digest[2:]).exists() for cache in caches)


def _caches(root: Path) -> list[Path]:
    """Give where DVC keeps what stages wrote: its usual place, and those that the repository's configuration names."""
    found = [root / ".dvc/cache"]
    for name in ("config", "config.local"):
        config = configparser.ConfigParser(interpolation=None)
        try:
            config.read(root / ".dvc" / name, "utf-8")
            found.append(root / ".dvc" / config["cache"]["dir"])
        except (configparser.Error, KeyError, UnicodeDecodeError):
            continue
    return found


def existing_path(text: str, key: str) -> Path:
    """Find what a parameter names, relative to the working folder or to `$DVC_ROOT`; `~` is the home folder.

    Args:
        text: path as the user wrote it.
        key: name of the parameter as the user knows it, for messages: `data.path`, `adapt.target.path`, `PATH`.

    Raises:
        DataError: nothing is there, or the operating system does not say.
        UsageError: it lies where DVC removes files.
    """
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        raise DataError(f"{key} = {text}: no home folder is known ({error}): write the whole path") from error
    # `dvc exp run --temp` runs in a copy of the repository, without what git does not track.
    for base in dict.fromkeys((Path.cwd(), Path(os.environ.get("DVC_ROOT", Path.cwd())))):
        try:
            (base / path).stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:
            raise DataError(f"{key} = {text} cannot be read ({error})") from error
        refuse_outputs(key, base / path)
        return base / path
    raise DataError(f"{key} = {text} does not exist (seen from {Path.cwd()})")


def path_problems(data: DataConfig, target: TargetConfig | None) -> list[str]:
    """List what is wrong with the places that sections `data` and `adapt.target` name, a line each.

    Only places that stages would delete, and files in data/raw that are nobody's but the user's: whether the data are
    there and sound is for the stages that read them.

    Args:
        data: section `data`.
        target: section `adapt.target`; None where the adaptation is off.
    """
    checks = list(_places("data", data.path, data.urls))
    if target is not None:
        checks += _places("adapt.target", target.path, target.urls)
    if data.source == "table" and isinstance(data.path, str):
        checks += _scans("data.path", data.path)
    found = []
    for key, path in checks:
        try:
            refuse_outputs(key, path)
        except UsageError as error:
            found.append(str(error))
    for top in tops():
        if names := foreign_files(top):
            found.append(foreign_message(names))
    return list(dict.fromkeys(found))


def _places(
    section: str, path: str | Sequence[str] | None, urls: Sequence[Archive]
) -> Iterator[tuple[str, Path]]:
    for text in [path] if isinstance(path, str) else path or []:
        try:
            yield f"{section}.path", existing_path(text, f"{section}.path")
        except UsageError as error:
            # Told again, with all others.
            yield f"{section}.path", _unchecked(text, error)
        except DataError:
            continue
    for archive in urls:
        if local := local_archive(archive.url):
            yield f"{section}.urls", local


def _unchecked(text: str, error: UsageError) -> Path:
    path = Path(text).expanduser()
    return next((top / path for top in tops() if (top / path).exists()), path)


def _scans(key: str, text: str) -> Iterator[tuple[str, Path]]:
    """Give the files that a table or an nnU-Net folder names, without opening them."""
    try:
        path = existing_path(text, key)
        if path.is_dir() and not is_nnunet(path):
            return
        table = read_nnunet(path) if path.is_dir() else read_table_file(path)
    except (DataError, UsageError, OSError):
        return
    for row in table.rows:
        for file in filter(None, (row.image, row.label)):
            yield f"{key} names {row.title}", file
