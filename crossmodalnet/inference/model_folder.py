"""Read and pack model folders: weights, card, `recipe.json` (preparation of scans) and atlases.

A packed model is an uncompressed zip archive of these files alone, so it cannot expand, and its paths are not used.
"""

import json
import os
import shutil
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf, prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from pydantic import Field, ValidationError, model_validator

from crossmodalnet.config import Config
from crossmodalnet.inference.quality_flags import TrainingLikeness
from crossmodalnet.io.outputs import whole_file
from crossmodalnet.networks.common.card import BEST, CARD, first_problem
from crossmodalnet.networks.common.sizes import MAX_SIZE, MAX_VOXELS
from crossmodalnet.registration.config import RegistrationConfig
from crossmodalnet.roi.atlas import MAX_BYTES as MAX_ATLASES_BYTES

RECIPE = "recipe.json"
ATLASES = "atlases.safetensors"
# Largest size of each file of a model, bytes; typical weights have some hundred megabytes.
MAX_MODEL_BYTES = {CARD: 2**24, RECIPE: 2**20, BEST: 2**32, ATLASES: MAX_ATLASES_BYTES}
OPTIONAL = frozenset({ATLASES})
# Increased when an earlier `recipe.json` would be misread.
VERSION = 4
# Fixed, so that packing is reproducible.
_NO_DATE = (1980, 1, 1, 0, 0, 0)
_ENCRYPTED = 0x1

_Edge = Annotated[int, Field(ge=1, le=MAX_SIZE)]


class InferenceConfig(Config):
    """Steps between a scan and the network's input, and back, as in training; `recipe.json` of a model folder."""

    registration: RegistrationConfig = Field(description="registration of the MR to the CT")
    size: tuple[_Edge, _Edge, _Edge] = Field(description="voxels of the working grid along world x, y, z")
    spacing_mm: float = Field(gt=0, le=10, description="isotropic spacing of the working grid, mm")
    margin_mm: float = Field(ge=0, le=200, description="margin of the heart ROI that should fit into the grid, mm")
    atlas_spacing_mm: float = Field(ge=0.5, le=20, description="spacing of the registration of atlases, mm")
    heart_likeness: float | None = Field(
        None, description="least mutual information of two atlases around the heart, nats; null: hearts are not judged"
    )
    mr_likeness: TrainingLikeness | None = Field(
        None, description="likeness of MR and CT in training pairs and by chance; null: MRs are not judged"
    )
    overlap: float = Field(ge=0, le=0.95, description="share of a window that neighbours have in common")
    keep_largest_component: bool = Field(description="remove smaller components of each structure")
    version: int = Field(VERSION, description="version of this file's format")

    @model_validator(mode="after")
    def _bounded(self) -> "InferenceConfig":
        if prod(self.size) > MAX_VOXELS:
            raise ValueError(f"size must have at most {MAX_VOXELS} voxels, got {self.size}")
        usual = self.mr_likeness
        if usual and not all(0 <= low < high < inf for high, low in zip(*usual, strict=True)):
            raise ValueError(f"mr_likeness must be higher in pairs than by chance, got {usual}")
        return self


def read_inference_config(folder: str | os.PathLike[str]) -> InferenceConfig:
    """Read `recipe.json`: FileNotFoundError if missing, ValueError names a damaged or outdated file."""
    path = Path(folder) / RECIPE
    if not path.is_file():
        raise FileNotFoundError(2, "not found", str(path))
    if path.stat().st_size > MAX_MODEL_BYTES[RECIPE]:
        raise ValueError(f"{path} is not a recipe: it has more than {MAX_MODEL_BYTES[RECIPE]} bytes")
    try:
        content = json.loads(path.read_text("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    version = content.get("version") if isinstance(content, dict) else None
    if version != VERSION:
        raise ValueError(
            f"{path} is of version {version}, this crossmodalnet reads version {VERSION}: export the model again"
        )
    try:
        return InferenceConfig.model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise ValueError(f"{path} is not a recipe: {first_problem(error)}") from error


@contextmanager
def model_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Return a model's folder; unpack a packed file, which ValueErrors name, to a temporary one."""
    model = Path(path)
    if model.name == CARD and model.is_file():
        raise ValueError(f"{model} is a file of a model: give its folder, {model.parent}")
    if not model.is_file():
        if model.exists() and not model.is_dir():
            raise ValueError(f"{model} is neither a model folder nor a packed model, but a pipe or a device")
        _check_folder(model)
        yield model
        return
    with TemporaryDirectory(prefix="crossmodalnet_model_") as scratch:
        _unpack(model, Path(scratch))
        try:
            yield Path(scratch)
        except ValueError as error:
            raise ValueError(str(error).replace(scratch, str(model))) from error


def pack_model(folder: str | os.PathLike[str], file: str | os.PathLike[str]) -> None:
    """Pack a model folder into a file, atomically; an earlier packed model is replaced.

    FileNotFoundError, whose `filename` says which, for a missing file, FileExistsError for another file in the way,
    ValueError for one that is too large.
    """
    folder, file = Path(folder), Path(file)
    _check_folder(folder)
    for name in MAX_MODEL_BYTES:
        if name not in OPTIONAL and not (folder / name).is_file():
            raise FileNotFoundError(2, "not found", str(folder / name))
    if file.exists() and not _is_packed(file):
        raise FileExistsError(17, "is no packed model and would be replaced", str(file))
    with whole_file(file) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for name in MAX_MODEL_BYTES:
            if (folder / name).is_file():
                entry = zipfile.ZipInfo(name, _NO_DATE)
                entry.external_attr = (stat.S_IFREG | 0o644) << 16
                entry.file_size = (folder / name).stat().st_size
                with (folder / name).open("rb") as source, archive.open(entry, "w") as sink:
                    shutil.copyfileobj(source, sink, 2**20)


def _check_folder(folder: Path) -> None:
    for name, limit in MAX_MODEL_BYTES.items():
        part = folder / name
        if part.exists() and not part.is_file():
            raise ValueError(f"{part} is no regular file")
        if part.exists() and (size := part.stat().st_size) > limit:
            raise ValueError(f"{part} has {size} bytes, more than the limit of {limit}")


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
                # Safe: names are keys of `MAX_MODEL_BYTES`, and no entry is compressed.
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
