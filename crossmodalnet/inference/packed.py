"""A model folder as one file, and either of them as a folder that is safe to read.

The file is a zip archive of nothing but the folder's four files, not compressed: it cannot unpack to more than it
holds, and no path inside it is ever used.
"""

import os
import shutil
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from crossmodalnet.inference.recipe import MAX_BYTES as MAX_RECIPE_BYTES
from crossmodalnet.inference.recipe import RECIPE
from crossmodalnet.networks.common.card import BEST, CARD
from crossmodalnet.roi.atlas import MAX_BYTES as MAX_ATLASES_BYTES

ATLASES = "atlases.safetensors"
# The files of a model and the most bytes that each is read with: the largest network that can be built here has some
# hundred megabytes of weights.
MAX_MODEL_BYTES = {CARD: 2**24, RECIPE: MAX_RECIPE_BYTES, BEST: 2**32, ATLASES: MAX_ATLASES_BYTES}
OPTIONAL = frozenset({ATLASES})
# The same folder gives the same bytes, whenever it is packed.
_NO_DATE = (1980, 1, 1, 0, 0, 0)
_ENCRYPTED = 0x1


def pack_model(folder: Path, file: Path) -> None:
    """Pack a model folder to a file, which appears whole or not at all; what else lies in the folder is left out.

    Args:
        folder: folder that stage `export` wrote.
        file: file to write; an earlier packed model is replaced.

    Raises:
        FileNotFoundError: a file of the model is missing; its `filename` is that file's.
        FileExistsError: `file` is something else than a packed model.
        ValueError: a file of the model is too large to be one.
        OSError: the file cannot be written.
    """
    _check_folder(folder)
    for name in MAX_MODEL_BYTES:
        if name not in OPTIONAL and not (folder / name).is_file():
            raise FileNotFoundError(2, "not found", str(folder / name))
    if file.exists() and not _is_packed(file):
        raise FileExistsError(17, "is no packed model and would be replaced", str(file))
    partial = file.with_name(f".{file.name}.partial")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            for name in MAX_MODEL_BYTES:
                if (folder / name).is_file():
                    entry = zipfile.ZipInfo(name, _NO_DATE)
                    entry.external_attr = (stat.S_IFREG | 0o644) << 16
                    entry.file_size = (folder / name).stat().st_size
                    with (folder / name).open("rb") as source, archive.open(entry, "w") as sink:
                        shutil.copyfileobj(source, sink, 2**20)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def model_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give the folder of a model: the one that is named, or a temporary one with the files of a packed model.

    What is said of the temporary folder's files names the packed file instead.

    Raises:
        ValueError: a file that is no packed model, damaged, or a part of a model is larger than one can be or no
            regular file, which could be waited for without end.
    """
    named = Path(path)
    if named.exists() and not named.is_file() and not named.is_dir():
        raise ValueError(f"{named} is neither a model's folder nor a packed model, but a pipe or a device")
    if not named.is_file():
        _check_folder(named)
        yield named
        return
    with TemporaryDirectory(prefix="crossmodalnet_model_") as scratch:
        _unpack(named, Path(scratch))
        try:
            yield Path(scratch)
        except ValueError as error:
            raise ValueError(str(error).replace(scratch, str(named))) from error


def _check_folder(folder: Path) -> None:
    for name, limit in MAX_MODEL_BYTES.items():
        part = folder / name
        if part.exists() and not part.is_file():
            raise ValueError(f"{part} is no regular file")
        if part.exists() and (size := part.stat().st_size) > limit:
            raise ValueError(f"{part} has {size} bytes, more than the {limit} that one can have")


def _is_packed(file: Path) -> bool:
    try:
        with zipfile.ZipFile(file) as archive:
            return CARD in archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def _unpack(file: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            _check_entries(file, entries)
            for entry in entries:
                # Names are those of `MAX_MODEL_BYTES`, so that none leaves the folder; stored as they are, so that no
                # entry has more bytes than the file.
                with archive.open(entry) as source, (folder / entry.filename).open("xb") as sink:
                    shutil.copyfileobj(source, sink, 2**20)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{file} is no packed model, or is damaged ({error}): `crossmodalnet models pack` makes one"
        ) from error


def _check_entries(file: Path, entries: list[zipfile.ZipInfo]) -> None:
    names = [entry.filename for entry in entries]
    if surplus := [name for name in names if name not in MAX_MODEL_BYTES]:
        raise ValueError(f"{file} is no packed model: it holds {surplus[0]!r}")
    if missing := [name for name in MAX_MODEL_BYTES if name not in {*names, *OPTIONAL}]:
        raise ValueError(f"{file} is no packed model: it lacks {missing[0]}")
    if len(set(names)) < len(names):
        raise ValueError(f"{file} is no packed model: it holds a file twice")
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & _ENCRYPTED:
            raise ValueError(f"{file} is no packed model: {entry.filename} is compressed or encrypted")
        if entry.file_size > MAX_MODEL_BYTES[entry.filename] or entry.file_size != entry.compress_size:
            raise ValueError(f"{file} is no packed model: {entry.filename} has {entry.file_size} bytes")
