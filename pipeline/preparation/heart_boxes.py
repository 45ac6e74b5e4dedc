"""The heart box of one image by atlases: work that is kept and reused."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from crossmodalnet.imaging.nifti import read_image, read_label_map
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.registration.syn import Initialisation
from crossmodalnet.roi.atlas import Atlas, make_atlas
from crossmodalnet.roi.heart_box import Box, find_heart_box
from pipeline.config.sections import CropConfig
from pipeline.runtime.files import write_json
from pipeline.runtime.work import code_fingerprint, fingerprint, work_folder

# Of the sampling of ANTs' metric.
ENVIRONMENT = {"ANTS_RANDOM_SEED": "1"}


@dataclass(frozen=True)
class AtlasFiles:
    """Files of a labelled subject that tells where the heart lies in others."""

    image: Path
    label: Path


def read_atlas(files: AtlasFiles, modality: Modality, spacing_mm: float) -> Atlas:
    """Read an atlas at the spacing of the atlas registration, once in a process: all its cases have the same atlases.

    Raises:
        ValueError: a file cannot be read.
    """
    return _read_atlas(files, modality, spacing_mm, (_state(files.image), _state(files.label)))


@lru_cache(maxsize=32)
def _read_atlas(files: AtlasFiles, modality: Modality, spacing_mm: float, states: object) -> Atlas:
    return make_atlas(read_image(files.image), read_label_map(files.label), modality, spacing_mm)


def _state(file: Path) -> tuple[int, ...] | None:
    """What changes with a file: a cluster's worker lives on, while other data come to lie under the same name."""
    try:
        found = file.stat()
    except OSError:  # reading says what is wrong
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def heart_box(
    file: Path,
    image: Volume,
    atlases: Sequence[AtlasFiles],
    params: CropConfig,
    modality: Modality = Modality.CT,
    atlas_modality: Modality = Modality.CT,
    initialisation: Initialisation = "centre_of_mass",
) -> Box:
    """Find the heart box of an image, or the box that an earlier run found, in a process with `ENVIRONMENT`.

    Work is keyed by the images, the atlases' labels, the spacing, the modalities and the code.

    Args:
        file: the image's file.
        image: what was read from it, HU or MR.
        atlases: other subjects, labelled.
        params: section `crop`.
        modality: modality of the image.
        atlas_modality: modality of the atlases.
        initialisation: start of the registrations.

    Raises:
        ValueError: no atlas, an unreadable file, or the atlases agree on no voxel.
        RuntimeError: ANTs failed.
    """
    key = fingerprint(
        file, [[atlas.image, atlas.label] for atlas in atlases], params.atlas_spacing_mm,
        [modality, atlas_modality, initialisation], code_fingerprint("crop"),
        version("antspyx"),
    )  # fmt: skip
    done = work_folder("crop", key) / "box.json"
    if not done.is_file():
        box = find_heart_box(
            image,
            [read_atlas(files, atlas_modality, params.atlas_spacing_mm) for files in atlases],
            params.atlas_spacing_mm,
            modality=modality,
            initialisation=initialisation,
        )
        write_json(done, asdict(box))
    found = json.loads(done.read_text("utf-8"))
    return Box(tuple(found["low_mm"]), tuple(found["high_mm"]))
