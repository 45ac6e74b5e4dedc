"""What is wrong with one image or label map file: all of it, not only the first thing."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crossmodalnet.imaging.codes import MMWHS, LabelCodes
from crossmodalnet.imaging.structures import STRUCTURES
from crossmodalnet.imaging.untrusted import UntrustedImage, read_untrusted
from crossmodalnet.imaging.volume import Grid

Severity = Literal["error", "warning"]
Kind = Literal["image", "label"]

MAX_SPACING_MM = 20.0
# Volume of the parallelepiped of the three unit axes; 1 for a right-angled grid.
MIN_AXES_VOLUME = 1e-3
# Sform and qform of one grid differ by this much when one is made of the other in float32 (near half-turns).
GRID_TOLERANCE_VOXELS = 0.1
SLAB_VOXELS = 2**22
MAX_LISTED = 8


@dataclass(frozen=True)
class ImageProblem:
    """One thing that is wrong with a file, and what to do about it; a warning does not stop the pipeline."""

    severity: Severity
    what: str
    remedy: str


@dataclass(frozen=True)
class Inspection:
    """What was found in one file.

    Attributes:
        problems: problems in the order of the checks.
        grid: None where the file gives no usable 3-D grid.
        digest: digest of the voxel values, empty for a constant image; equal digests are the same scan.
        structures: abbreviations of the structures that a label map holds.
    """

    problems: tuple[ImageProblem, ...]
    grid: Grid | None = None
    digest: str = ""
    structures: tuple[str, ...] = ()


def inspect_file(
    path: Path,
    kind: Kind,
    codes: LabelCodes = MMWHS,
    read: Callable[[Path], UntrustedImage] = read_untrusted,
) -> Inspection:
    """Read a file to its end and list all that is wrong with it.

    Args:
        path: path of the file.
        kind: image or label map.
        codes: meaning of the values of a label map.
        read: reader of files that nobody vouches for; raises ValueError where it cannot read one.
    """
    try:
        untrusted = read(path)
        shape = _spatial_shape(untrusted.image.shape)
        problems = [*_shape_problems(shape), *_geometry_problems(untrusted)]
        structures: tuple[str, ...] = ()
        if kind == "label":
            found, structures = _label_problems(untrusted.image, codes)
        else:
            found = _image_problems(untrusted.image)
        problems += found
        digest = "" if kind == "label" else _digest(untrusted.image)
    except ValueError as error:
        return Inspection((ImageProblem("error", f"unreadable: {error}", "copy or download the file again"),))
    affine = np.asarray(untrusted.image.affine, np.float64)
    if len(shape) != 3 or not np.isfinite(affine).all():
        return Inspection(tuple(problems), None, digest, structures)
    return Inspection(tuple(problems), Grid((shape[0], shape[1], shape[2]), affine), digest, structures)


def grid_problems(image: Grid, label: Grid) -> list[ImageProblem]:
    """Compare the grids of an image and its label map: shapes, and corners to a tenth of a voxel."""
    remedy = "resample the label map to the grid of its image, or find the right file"
    if image.shape != label.shape:
        what = f"label map has shape {label.shape}, its image {image.shape}: different grids"
        return [ImageProblem("error", what, remedy)]
    if image.same_as(label, max(1e-2, GRID_TOLERANCE_VOXELS * min(image.spacing_mm))):
        return []
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in image.shape])).reshape(3, -1)
    apart = float(np.linalg.norm(image.to_world(corners) - label.to_world(corners), axis=0).max())
    what = f"label map and image lie on different grids: affines differ by up to {apart:.2f} mm"
    return [ImageProblem("error", what, remedy)]


def _spatial_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Drop the fourth axis of a 4-D file with one volume, as `read_image` does."""
    return shape[:3] if len(shape) == 4 and shape[3] == 1 else shape


def _shape_problems(shape: tuple[int, ...]) -> list[ImageProblem]:
    if len(shape) == 3 and min(shape) > 1:
        return []
    return [ImageProblem("error", f"not 3-D: shape {shape}", "give one volume with three axes per file")]


def _geometry_problems(untrusted: UntrustedImage) -> list[ImageProblem]:
    remedy = "export the file again with its true geometry"
    matrix = np.asarray(untrusted.image.affine, np.float64)[:3]
    if not np.isfinite(matrix).all():
        return [ImageProblem("error", "affine holds NaN or infinite numbers: singular affine", remedy)]
    problems = []
    spacing = np.linalg.norm(matrix[:, :3], axis=0)
    for name, values in (("affine", spacing), ("pixdim", untrusted.pixdim_mm)):
        if not ((values > 1e-4) & (values <= MAX_SPACING_MM)).all():
            listed = " x ".join(f"{value:g}" for value in values)
            rule = f"0 < spacing <= {MAX_SPACING_MM:g} mm"
            problems.append(
                ImageProblem("error", f"degenerate spacing ({name}): {listed} mm, not {rule}", remedy)
            )
    if abs(np.linalg.det(matrix[:, :3])) < MIN_AXES_VOLUME * spacing.prod() or not spacing.all():
        problems.append(ImageProblem("error", "singular affine: its axes are not independent", remedy))
    return problems


def _image_problems(image: Any) -> list[ImageProblem]:
    num_bad, low, high = 0, np.inf, -np.inf
    for slab in _slabs(image):
        finite = slab[np.isfinite(slab)]
        num_bad += slab.size - finite.size
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    problems = _nonfinite_problems(num_bad)
    if low == high:
        what = f"constant image: every voxel is {low:g}"
        problems.append(ImageProblem("warning", what, "look at the scan: it shows nothing"))
    return problems


def _label_problems(image: Any, codes: LabelCodes) -> tuple[list[ImageProblem], tuple[str, ...]]:
    """List what is wrong with a label map, and name the structures that it holds."""
    num_bad, values = 0, np.zeros(0)
    for slab in _slabs(image):
        finite = slab[np.isfinite(slab)]
        num_bad += slab.size - finite.size
        values = np.union1d(values, finite)
    problems = _nonfinite_problems(num_bad)
    if unknown := codes.unknown(values):
        listed = ", ".join(f"{code:g}" for code in unknown[:MAX_LISTED])
        more = f" and {len(unknown) - MAX_LISTED} more" if len(unknown) > MAX_LISTED else ""
        what = f"unknown label codes {listed}{more}"
        problems.append(
            ImageProblem("error", what, f"{codes.title} uses {codes.listed}; correct the label map")
        )
    present = {codes.indices.get(int(value), 0) if value == int(value) else 0 for value in values} - {0}
    if not present and not unknown:
        what = "empty label map: no voxel is labelled"
        return [*problems, ImageProblem("error", what, "export the label map again")], ()
    absent = [s for s in STRUCTURES if s.index not in present and s.abbreviation not in codes.missing]
    if missing := [f"{s.abbreviation} ({codes.codes[s.abbreviation][0]})" for s in absent]:
        what = f"missing structures: {', '.join(missing)}"
        problems.append(
            ImageProblem("warning", what, "look at the label map; what it lacks is scored as absent")
        )
    return problems, tuple(s.abbreviation for s in STRUCTURES if s.index in present)


def _nonfinite_problems(num_bad: int) -> list[ImageProblem]:
    if not num_bad:
        return []
    return [ImageProblem("error", f"{num_bad} voxels are NaN or infinite", "export the file again")]


def _digest(image: Any) -> str:
    """Digest shape and values; empty for a constant image, which is nobody's."""
    digest = hashlib.sha256(repr(_spatial_shape(image.shape)).encode())
    values: set[float] = set()
    for slab in _slabs(image):
        digest.update(np.asarray(slab, np.float32).tobytes())
        values |= {slab.min(), slab.max()} if len(values) < 2 else set()
    return digest.hexdigest() if len(values) > 1 else ""


def _slabs(image: Any) -> Iterator[NDArray[Any]]:
    """Give the voxels in slabs of the last axis, which bounds the memory of scaled images."""
    length = image.shape[-1]
    thickness = max(1, SLAB_VOXELS * length // max(1, int(np.prod(image.shape, dtype=np.int64))))
    for start in range(0, length, thickness):
        yield np.asanyarray(image.dataobj[..., start : start + thickness])
