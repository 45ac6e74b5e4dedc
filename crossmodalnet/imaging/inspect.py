"""What is wrong with one image or label map file: all of it, not only the first thing."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crossmodalnet.imaging.codes import MMWHS, LabelCodes, whole_values
from crossmodalnet.imaging.geometry import (
    MAX_SPACING_MM,
    is_sheared,
    shear_degrees,
)
from crossmodalnet.imaging.structures import STRUCTURES, Modality
from crossmodalnet.imaging.untrusted import UntrustedImage, read_untrusted
from crossmodalnet.imaging.volume import Grid

Severity = Literal["error", "warning"]
Kind = Literal["image", "label"]

# Volume of the parallelepiped of the three unit axes; 1 for a right-angled grid.
MIN_AXES_VOLUME = 1e-3
# Below this a CT has air and lung; an MR has no negative voxels at all, but for offsets of a few units.
AIR_HU = -300.0
# Metal has some 30,000 HU in scans of an extended scale; beyond two bytes there is nothing.
MAX_HU = 65536.0
# What registration and networks see of a CT, and the share of voxels at either end that is not counted as contrast.
CT_WINDOW_HU = (-200.0, 600.0)
IGNORED_PERCENT = 1.0
SLAB_VOXELS = 2**22
MAX_SAMPLES = 2**22
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
        is_plain: whether the file says all of it itself, so that nothing had to be assumed, rounded or straightened.
        says_orientation: whether the header says how the scan lies in the patient.
    """

    problems: tuple[ImageProblem, ...]
    grid: Grid | None = None
    digest: str = ""
    structures: tuple[str, ...] = ()
    is_plain: bool = True
    says_orientation: bool = True


def inspect_file(
    path: Path,
    kind: Kind,
    codes: LabelCodes = MMWHS,
    read: Callable[[Path], UntrustedImage] = read_untrusted,
    modality: Modality | None = None,
) -> Inspection:
    """Read a file to its end and list all that is wrong with it.

    Args:
        path: path of the file.
        kind: image or label map.
        codes: meaning of the values of a label map.
        read: reader of files that nobody vouches for; raises ValueError where it cannot read one.
        modality: what an image is said to be; None where its values are not to be judged by that.
    """
    try:
        untrusted = read(path)
        shape = _spatial_shape(untrusted.image.shape)
        problems = [*_shape_problems(shape), *geometry_problems(untrusted.image.affine, untrusted.pixdim_mm)]
        structures: tuple[str, ...] = ()
        is_whole = True
        if kind == "label":
            found, structures, is_whole = _label_problems(untrusted.image, codes)
        else:
            found = _image_problems(untrusted.image, modality)
        notes = untrusted.notes if modality is None else untrusted.notes_as(modality.name)
        problems += [ImageProblem("warning", note, _NOTE_REMEDY) for note in notes]
        problems += found
        digest = "" if kind == "label" else _digest(untrusted.image)
    except (ValueError, OSError) as error:
        return Inspection((ImageProblem("error", f"unreadable: {error}", "copy or download the file again"),))
    affine = np.asarray(untrusted.image.affine, np.float64)
    if len(shape) != 3 or not np.isfinite(affine).all():
        return Inspection(tuple(problems), None, digest, structures)
    grid = Grid((shape[0], shape[1], shape[2]), affine)
    sheared = not any(problem.severity == "error" for problem in problems) and is_sheared(grid)
    if sheared and kind == "image":
        what = f"axes are not at right angles, {shear_degrees(grid):.1f} degrees off (gantry tilt?)"
        problems.append(
            ImageProblem("warning", what, "resampled to a right-angled grid; better have it corrected")
        )
    plain = is_whole and not untrusted.notes and not sheared
    return Inspection(tuple(problems), grid, digest, structures, plain, untrusted.says_orientation)


_NOTE_REMEDY = "look whether that is so, or export the file again with its true geometry"


def grid_problems(image: Grid, label: Grid, *, says_orientation: bool = True) -> list[ImageProblem]:
    """Compare the grids of an image and its label map: shapes, and corners within the one tolerance of positions.

    Args:
        image: grid of the image.
        label: grid of the label map.
        says_orientation: whether the label map says how it lies in the patient; if not, it is believed to lie on its
            image where shape and spacings are the image's.
    """
    remedy = "resample the label map to the grid of its image, or find the right file"
    if image.shape != label.shape:
        what = f"label map has shape {label.shape}, its image {image.shape}: different grids"
        return [ImageProblem("error", what, remedy)]
    if image.same_as(label):
        return []
    if not says_orientation and np.allclose(image.spacing_mm, label.spacing_mm, rtol=1e-3):
        what = "assumed to lie on the grid of its image, whose shape and spacings it has"
        return [ImageProblem("warning", what, "look at both together")]
    apart = image.largest_shift_mm(label)
    what = f"label map and image lie on different grids: affines differ by up to {apart:.2f} mm"
    return [ImageProblem("error", what, remedy)]


def _spatial_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Drop the fourth axis of a 4-D file with one volume, as `read_image` does."""
    return shape[:3] if len(shape) == 4 and shape[3] == 1 else shape


def _shape_problems(shape: tuple[int, ...]) -> list[ImageProblem]:
    if len(shape) == 3 and min(shape) > 1:
        return []
    return [ImageProblem("error", f"not 3-D: shape {shape}", "give one volume with three axes per file")]


def geometry_problems(affine: NDArray[Any], pixdim_mm: NDArray[Any]) -> list[ImageProblem]:
    """Find impossible affines (4x4) and spacings of a header."""
    remedy = "export the file again with its true geometry"
    matrix = np.asarray(affine, np.float64)[:3]
    if not np.isfinite(matrix).all():
        return [ImageProblem("error", "affine holds NaN or infinite numbers: singular affine", remedy)]
    problems = []
    spacing = np.linalg.norm(matrix[:, :3], axis=0)
    for name, values in (("affine", spacing), ("pixdim", pixdim_mm)):
        if not ((values > 1e-4) & (values <= MAX_SPACING_MM)).all():
            listed = " x ".join(f"{value:g}" for value in values)
            rule = f"0 < spacing <= {MAX_SPACING_MM:g} mm"
            problems.append(
                ImageProblem("error", f"degenerate spacing ({name}): {listed} mm, not {rule}", remedy)
            )
    if abs(np.linalg.det(matrix[:, :3])) < MIN_AXES_VOLUME * spacing.prod() or not spacing.all():
        problems.append(ImageProblem("error", "singular affine: its axes are not independent", remedy))
    return problems


def _image_problems(image: Any, modality: Modality | None) -> list[ImageProblem]:
    num_bad, low, high = 0, np.inf, -np.inf
    samples: list[NDArray[np.float32]] = []
    step = max(1, int(np.prod(image.shape, dtype=np.int64)) // MAX_SAMPLES)
    for slab in _slabs(image):
        finite = slab[np.isfinite(slab)]
        num_bad += slab.size - finite.size
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
            samples.append(finite.ravel()[::step].astype(np.float32))
    problems = _nonfinite_problems(num_bad)
    remedy = "look at the scan: it shows nothing; export it again, or take it out"
    if low == high:
        return [*problems, ImageProblem("error", f"constant image: every voxel is {low:g}", remedy)]
    if modality is not None and samples:
        problems += _intensity_problems(np.concatenate(samples), (low, high), modality, remedy)
    return problems


def _intensity_problems(
    values: NDArray[np.float32], limits: tuple[float, float], modality: Modality, remedy: str
) -> list[ImageProblem]:
    """List what a CT or an MR cannot be: no contrast where networks look, or values of the other modality."""
    shown = np.clip(values, *CT_WINDOW_HU) if modality is Modality.CT else values
    bottom, top = np.percentile(shown, (IGNORED_PERCENT, 100 - IGNORED_PERCENT))
    if bottom == top:
        where = " between -200 and 600 HU" if modality is Modality.CT else ""
        what = f"no contrast{where}: {100 - 2 * IGNORED_PERCENT:g} % of the voxels are {float(bottom):g}"
        return [ImageProblem("error", what, remedy)]
    if (doubt := unlike_modality(*limits, modality)) is None:
        return []
    what, question = doubt
    taken_as = "HU" if modality is Modality.CT else "an MR"
    return [ImageProblem("warning", f"{what}: read as {taken_as} all the same", question)]


def unlike_modality(low: float, high: float, modality: Modality) -> tuple[str, str] | None:
    """Judge by its values whether an image can be of its modality, for cohorts and for new patients alike.

    Args:
        low: least value of the image.
        high: greatest value of the image.
        modality: what the image is said to be.

    Returns:
        What is odd, and the question that it raises; None where nothing is.

    >>> unlike_modality(-1000.0, 3000.0, Modality.MR)
    ('MR has voxels down to -1000', 'is it an MR, not a CT?')
    """
    if modality is Modality.CT and low > AIR_HU:
        what = f"CT has no voxel below {AIR_HU:g} HU ({low:g} is the least)"
        return what, "is it in HU (offset -1024, slope), and is it a CT?"
    if modality is Modality.CT and max(-low, high) > MAX_HU:
        return f"CT has values from {low:g} to {high:g}, beyond {MAX_HU:g} HU", "is its slope right?"
    if modality is Modality.MR and low < AIR_HU:
        return f"MR has voxels down to {low:g}", "is it an MR, not a CT?"
    return None


def _label_problems(image: Any, codes: LabelCodes) -> tuple[list[ImageProblem], tuple[str, ...], bool]:
    """List what is wrong with a label map, name the structures that it holds, and tell whether its values are whole."""
    num_bad, values = 0, np.zeros(0)
    for slab in _slabs(image):
        finite = slab[np.isfinite(slab)]
        num_bad += slab.size - finite.size
        values = np.union1d(values, finite)
    problems = _nonfinite_problems(num_bad)
    whole = whole_values(values)
    off = values[whole != values]
    if off.size:
        what = f"label values are not whole numbers ({off[0]:.9g} for one): rounded"
        problems.append(ImageProblem("warning", what, "save label maps as whole numbers, without scaling"))
    if unknown := codes.unknown(whole):
        listed = ", ".join(f"{code:.9g}" for code in unknown[:MAX_LISTED])
        more = f" and {len(unknown) - MAX_LISTED} more" if len(unknown) > MAX_LISTED else ""
        what = f"unknown label codes {listed}{more}"
        problems.append(
            ImageProblem("error", what, f"{codes.title} uses {codes.listed}; correct the label map")
        )
    present = {codes.indices.get(int(value), 0) if value == int(value) else 0 for value in whole} - {0}
    if not present and not unknown:
        what = "empty label map: no voxel is labelled"
        return [*problems, ImageProblem("error", what, "export the label map again")], (), True
    absent = [s for s in STRUCTURES if s.index not in present and s.abbreviation not in codes.missing]
    if missing := [f"{s.abbreviation} ({codes.codes[s.abbreviation][0]})" for s in absent]:
        what = f"missing structures: {', '.join(missing)}"
        problems.append(
            ImageProblem("warning", what, "look at the label map; what it lacks is scored as absent")
        )
    return problems, tuple(s.abbreviation for s in STRUCTURES if s.index in present), not off.size


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
