"""Read an image or label map file and list every fault in it."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crossmodalnet.imaging import anatomy
from crossmodalnet.imaging.codes import CODE_SETS, MMWHS, LabelCodes, whole_values
from crossmodalnet.imaging.geometry import MAX_SPACING_MM, SMALLEST_HEART_MM, is_sheared, odd_extent, shear_degrees
from crossmodalnet.imaging.structures import STRUCTURES, Modality
from crossmodalnet.imaging.untrusted import UntrustedImage, read_untrusted
from crossmodalnet.imaging.volume import Grid

Severity = Literal["error", "warning"]
Kind = Literal["image", "label"]

# A scan of fewer voxels per axis may be a part of a heart.
LEAST_VOXELS = 32
# An image has hundreds of grey levels, a label map few. More samples need not be sorted to see that.
FEWEST_LEVELS, LEVEL_SAMPLES = 16, 2**18
# Volume of the parallelepiped of the unit axes; 1 for a right-angled grid.
MIN_AXES_VOLUME = 1e-3
# Air and lung of a CT are below; an MR has no negative voxels except small offsets.
AIR_HU = -300.0
# Metal has about 30,000 HU on an extended scale; two bytes hold no more than this.
MAX_HU = 65536.0
# CT window of the networks, and the percentage of voxels ignored at either end of it.
CT_WINDOW_HU = (-200.0, 600.0)
IGNORED_PERCENT = 1.0
SLAB_VOXELS = 2**22
MAX_SAMPLES = 2**22
MAX_LISTED = 8
# MM-WHS values cut to 8 bits, slices labelled at most where most are not, more values than data sets of hearts have.
MIN_CUT, FEW_SLICES, MANY_VALUES = 3, 2, 120
# Share of the voxels that only background has; slices of a heart that ends flat, and their area over the largest (sound
# phantoms: at most 0.35).
MOST, MIN_SLICES, FLAT = 0.5, 11, 0.45
ORDINAL = {2: "nd", 3: "rd"}
# Least value of a CT that was stored without its intercept: HU + 1024 of bone.
RAW_BONE = 1324.0
# Least correlation of copies that differ by a constant or a factor.
SAME_SCAN = 0.9999
# Inverted grey values: share of the range at either end; least share of voxels at its upper end (phantoms: 0.19 at most
# and little less at the lower end; inverted: 0.33 and more); least excess of the border over the middle.
END, MIN_BRIGHT, BRIGHTER = 0.15, 0.2, {Modality.CT: 0.05, Modality.MR: -0.1}
# Kinds of findings.
OTHER_MODALITY, FEW_LEVELS, UNKNOWN_CODES = "other modality", "few levels", "unknown codes"
EXCHANGED, MISPLACED = "exchanged", "misplaced"
COPY_AGAIN = "copy or download the file again"
NOTHING = np.zeros((0, 0, 0), np.float32)
INVERTED = "grey values seem inverted: the air around is bright"
INVERTED_REMEDY = "export the scan again, or subtract its values from their maximum (a CT: multiply by -1)"
NOT_3D_REMEDY = "give one volume with three axes per file"
ONE_HOT_REMEDY = "one channel per structure? save one 3-D map of whole numbers, a value for each structure"
_NOTE_REMEDY = "check the geometry, or export the file again with its true one"


@dataclass(frozen=True)
class Finding:
    """A fault with its remedy; an error stops the pipeline, a warning does not.

    `case` is a subject, a row of a table, `table` or `all`; `file` is the user's path, or empty. Findings of one `kind`
    are reported together.
    """

    severity: Severity
    what: str
    remedy: str
    case: str = ""
    file: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Inspection:
    """Findings and content of one file; `is_plain`: nothing was assumed, rounded or straightened.

    Attributes:
        grid: None without a usable 3-D grid.
        digest: digest of an image's voxels; empty for a constant image.
        volumes_ml: volumes of the structures in a label map, by abbreviation.
        coarse: every few voxels `(i, j, k)`, if the file is 3-D.
    """

    findings: list[Finding] = field(default_factory=list)
    grid: Grid | None = None
    digest: str = ""
    volumes_ml: Mapping[str, float] = field(default_factory=dict)
    is_plain: bool = True
    says_orientation: bool = True
    coarse: NDArray[np.float32] = field(default_factory=lambda: NOTHING, compare=False)


def inspect_file(
    path: Path,
    kind: Kind,
    codes: LabelCodes = MMWHS,
    read: Callable[[Path], UntrustedImage] = read_untrusted,
    modality: Modality | None = None,
) -> Inspection:
    """Read a file to its end and list every fault; a `modality` of None skips the checks of values."""
    volumes_ml: Mapping[str, float] = {}
    digest, is_whole = "", True
    thinned: list[NDArray[np.float32]] = []
    try:
        scan = read(path)
        shape = _spatial_shape(scan.image.shape)
        if kind == "label":
            value_findings, volumes_ml, is_whole = _label_findings(scan.image, codes, thinned, scan.says_orientation)
        else:
            value_findings, digest = _image_findings(scan.image, modality, thinned)
    except (ValueError, OSError) as error:
        return Inspection([Finding("error", f"unreadable: {error}", _remedy_of(str(error), path))])
    notes = scan.notes if modality is None else scan.notes_as(modality.name)
    is_whole_scan = len(shape) == 3 and min(shape) >= LEAST_VOXELS
    odd = odd_extent(shape, scan.grid.spacing_mm) if is_whole_scan else None
    findings = [
        *([Finding("error", odd, "correct the spacing or the unit in the header (mm)")] if odd else ()),
        *([_not_3d(shape, kind)] if len(shape) != 3 or min(shape) < 2 else ()),
        *geometry_findings(scan.image.affine, scan.pixdim_mm),
        *(Finding("warning", note, _NOTE_REMEDY) for note in notes),
        *(value_findings if len(shape) == 3 else ()),
    ]
    if len(shape) != 3 or not np.isfinite(scan.image.affine).all():
        return Inspection(findings, None, digest, volumes_ml)
    sheared = not any(finding.severity == "error" for finding in findings) and is_sheared(scan.grid)
    if sheared and kind == "image":
        what = f"axes are not at right angles, {shear_degrees(scan.grid):.1f} degrees off (gantry tilt?)"
        findings.append(Finding("warning", what, "resampled to a right-angled grid; better have it corrected"))
    plain = is_whole and not scan.notes and not sheared
    coarse = np.concatenate(thinned, axis=2)
    if kind == "image" and modality and np.isfinite(coarse).all() and seems_inverted(coarse, modality):
        findings.append(Finding("error", INVERTED, INVERTED_REMEDY))
    return Inspection(findings, scan.grid, digest, volumes_ml, plain, scan.says_orientation, coarse)


def is_damaged(error: str) -> bool:
    """Check whether an error says that a file is damaged or incomplete."""
    return any(sign in error for sign in ("truncated", "damaged", "ends early", "to its end", "is empty", "web page"))


def _remedy_of(error: str, path: Path) -> str:
    """Choose the remedy for a file or folder that cannot be read."""
    if is_damaged(error):
        return COPY_AGAIN
    if "DICOM series" in error:
        return "a table cannot name a series: copy the files of one to a folder of their own, and give that"
    if path.is_dir():
        return "give a folder with one complete series of equally spaced slices, or export it as NIfTI"
    return "export it again as one 3-D volume of plain numbers"


def grid_findings(image: Grid, label: Grid, *, says_orientation: bool = True) -> list[Finding]:
    """Compare shape and corners of an image and its label map.

    Without orientation in its header, a label map of the image's shape and spacings is assumed to lie on its grid.
    """
    remedy = "resample the label map to the grid of its image, or find the right file"
    if image.shape != label.shape:
        what = f"label map has shape {label.shape}, its image {image.shape}: different grids"
        return [Finding("error", what, remedy)]
    if image.same_as(label):
        return []
    if not says_orientation and np.allclose(image.spacing_mm, label.spacing_mm, rtol=1e-3):
        what = "assumed to lie on the grid of its image, whose shape and spacings it has"
        return [Finding("warning", what, "look at both together")]
    shift_mm = image.largest_shift_mm(label)
    what = f"label map and image lie on different grids: affines differ by up to {shift_mm:.2f} mm"
    return [Finding("error", what, remedy)]


def unlike_modality(low: float, high: float, modality: Modality) -> tuple[str, str] | None:
    """Return an implausible value range for the modality and a question, or None."""
    if modality is Modality.CT and low > AIR_HU:
        what = f"CT has no voxel below {AIR_HU:g} HU ({low:g} is the least)"
        raw = "if its values are HU + 1024 (stored without intercept), subtract 1024; else: " if high > RAW_BONE else ""
        return what, f"{raw}is it in HU, and is it a CT?"
    if modality is Modality.CT and max(-low, high) > MAX_HU:
        return f"CT has values from {low:g} to {high:g}, beyond {MAX_HU:g} HU", "is its slope right?"
    if modality is Modality.MR and low < AIR_HU:
        return f"MR has voxels down to {low:g}", "is it an MR, not a CT?"
    return None


def same_scan(ct: NDArray[np.float32], mr: NDArray[np.float32]) -> bool:
    """Check whether a CT and an MR of one grid differ by a constant and a factor at most."""
    if ct.shape != mr.shape or not ct.size:
        return False
    step = max(1, ct.size // LEVEL_SAMPLES)
    with np.errstate(invalid="ignore"):  # voxels that are not finite are reported elsewhere
        a, b = (own.flat[::step] - np.float64(own.flat[0]) for own in (ct, mr))
        return bool(a.std() and b.std() and abs(np.corrcoef(a, b)[0, 1]) > SAME_SCAN)


def seems_inverted(data: NDArray[np.float32], modality: Modality) -> bool:
    """Check whether air seems bright: many voxels are among the brightest, few among the darkest, and lie outside."""
    data = data[tuple(slice(None, None, max(1, n // anatomy.COARSE)) for n in data.shape)]
    low, high = np.percentile(data, (0.5, 99.5)).tolist()
    if modality is Modality.CT:
        low, high = -1000.0, min(max(high, 300.0), 1000.0)
    if not low < high:
        return False
    unit = np.clip((data - low) / (high - low), 0, 1)
    middle = tuple(slice(n // 4, n - n // 4) for n in unit.shape)
    is_border = np.ones(unit.shape, bool)
    is_border[tuple(slice(max(1, n // 16), n - max(1, n // 16)) for n in unit.shape)] = False
    bright, dark = float((unit > 1 - END).mean()), float((unit < END).mean())
    is_brighter = bool(unit[is_border].mean() > unit[middle].mean() + BRIGHTER[modality])
    return is_brighter and bright > max(MIN_BRIGHT, 3 * dark)


def _not_3d(shape: tuple[int, ...], kind: Kind) -> Finding:
    is_one_hot = kind == "label" and len(shape) == 4 and shape[3] <= len(STRUCTURES) + 1
    return Finding("error", f"not 3-D: shape {shape}", ONE_HOT_REMEDY if is_one_hot else NOT_3D_REMEDY)


def _spatial_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Drop the fourth axis of a 4-D file with one volume, as `read_image` does."""
    return shape[:3] if len(shape) == 4 and shape[3] == 1 else shape


def geometry_findings(affine: NDArray[Any], pixdim_mm: NDArray[Any]) -> list[Finding]:
    """List impossible affines (4x4) and spacings of a header."""
    remedy = "export the file again with its true geometry"
    matrix = np.asarray(affine, np.float64)[:3]
    if not np.isfinite(matrix).all():
        return [Finding("error", "affine holds NaN or infinite numbers: singular affine", remedy)]
    findings = []
    spacing = np.linalg.norm(matrix[:, :3], axis=0)
    for name, values in (("affine", spacing), ("pixdim", pixdim_mm)):
        if not ((values > 1e-4) & (values <= MAX_SPACING_MM)).all():
            listed = " x ".join(f"{value:g}" for value in values)
            what = f"degenerate spacing ({name}): {listed} mm, not 0 < spacing <= {MAX_SPACING_MM:g} mm"
            findings.append(Finding("error", what, remedy))
    if abs(np.linalg.det(matrix[:, :3])) < MIN_AXES_VOLUME * spacing.prod() or not spacing.all():
        findings.append(Finding("error", "singular affine: its axes are not independent", remedy))
    return findings


def _image_findings(
    image: Any, modality: Modality | None, thinned: list[NDArray[np.float32]]
) -> tuple[list[Finding], str]:
    """List the faults in an image's voxels; return their digest too."""
    num_bad, low, high = 0, np.inf, -np.inf
    samples: list[NDArray[np.float32]] = []
    step = max(1, int(np.prod(image.shape, dtype=np.int64)) // MAX_SAMPLES)
    digest = hashlib.sha256(repr(_spatial_shape(image.shape)).encode())
    for slab in _slabs(image, thinned):
        digest.update(np.asarray(slab, np.float32).tobytes())
        finite = slab[np.isfinite(slab)]
        num_bad += slab.size - finite.size
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
            samples.append(finite.ravel()[::step].astype(np.float32))
    findings = _nonfinite_findings(num_bad)
    remedy = "look at the scan: it shows nothing; export it again, or take it out"
    if low == high:
        return [*findings, Finding("error", f"constant image: every voxel is {low:g}", remedy)], ""
    if modality is not None and samples:
        findings += _intensity_findings(np.concatenate(samples), (low, high), modality, remedy)
    return findings, digest.hexdigest()


def few_levels(values: NDArray[Any]) -> int:
    """Count the grey levels of many values `(n,)`, if at most `FEWEST_LEVELS`, as label maps have; 0 for others."""
    if (
        values.size < LEAST_VOXELS**3 / 2
        or len(np.unique(values[:: max(1, values.size // LEVEL_SAMPLES)])) > FEWEST_LEVELS
    ):
        return 0
    num = len(np.unique(values))
    return num if num <= FEWEST_LEVELS else 0


def _intensity_findings(
    values: NDArray[np.float32], limits: tuple[float, float], modality: Modality, remedy: str
) -> list[Finding]:
    """List implausible values: no contrast in the network's window, or those of the other modality."""
    is_ct = modality is Modality.CT
    shown = np.clip(values, *CT_WINDOW_HU) if is_ct else values
    bottom, top = np.percentile(shown, (IGNORED_PERCENT, 100 - IGNORED_PERCENT))
    if bottom == top:
        where = " between {:g} and {:g} HU".format(*CT_WINDOW_HU) if is_ct else ""
        what = f"no contrast{where}: {100 - 2 * IGNORED_PERCENT:g} % of the voxels are {float(bottom):g}"
        return [Finding("error", what, remedy)]
    if num := few_levels(values):
        what = f"image has {num} grey levels, as a label map or a mask"
        return [Finding("error", what, "give the scan as image", kind=FEW_LEVELS)]
    if (odd := unlike_modality(*limits, modality)) is None:
        return []
    what, question = odd
    what = f"{what}: read as {'HU' if is_ct else 'an MR'} all the same"
    return [Finding("warning", what, question, kind=OTHER_MODALITY)]


def _label_findings(
    image: Any, codes: LabelCodes, thinned: list[NDArray[np.float32]], says_orientation: bool
) -> tuple[list[Finding], Mapping[str, float], bool]:
    """List the faults in a label map; return its volumes, and True if all values are whole."""
    num_bad, off = 0, np.zeros(0)
    shape = _spatial_shape(image.shape)
    profiles = [np.zeros(n, np.int64) for n in shape]  # labelled voxels of each slice along each axis
    depth = 0

    def whole_slabs() -> Iterator[NDArray[Any]]:
        nonlocal num_bad, off, depth
        for slab in _slabs(image, thinned):
            whole = whole_values(slab)
            if slab.dtype.kind == "f":
                num_bad += int(np.count_nonzero(~np.isfinite(slab)))
                off = slab[(whole != slab) & np.isfinite(slab)][:1] if not off.size else off
            whole = whole.reshape(_spatial_shape(whole.shape))
            if len(shape) == 3:
                is_labelled = whole != 0
                for axis, profile in enumerate(profiles[:2]):
                    profile += is_labelled.sum(axis=(1 - axis, 2))
                profiles[2][depth : depth + whole.shape[2]] = is_labelled.sum(axis=(0, 1))
                depth += whole.shape[2]
            yield whole

    spacing_mm = np.linalg.norm(image.affine[:3, :3], axis=0)
    values = anatomy.measure_values(whole_slabs(), image.affine, has_axes=says_orientation)
    findings = _nonfinite_findings(num_bad)
    if off.size:
        what = f"label values are not whole numbers ({off[0]:.9g} for one): rounded"
        findings.append(Finding("warning", what, "save label maps as whole numbers, without scaling"))
    volumes_ml = anatomy.structure_volumes(values, codes)
    unknown = codes.unknown(np.array(list(values.volume_ml)))
    absent = [s.abbreviation for s in STRUCTURES if s.abbreviation not in {*volumes_ml, *codes.missing}]
    fits_a_heart = (spacing_mm * image.shape[:3]).min() >= SMALLEST_HEART_MM
    wrong = anatomy.contradictions(values, codes) if fits_a_heart else []
    if unknown:
        listed = ", ".join(f"{code:.9g}" for code in unknown[:MAX_LISTED])
        more = f" and {len(unknown) - MAX_LISTED} more" if len(unknown) > MAX_LISTED else ""
        why = f"unknown label codes {listed}{more}"
    else:
        why = f"as {codes.title}, {wrong[0] if wrong else 'missing ' + ', '.join(absent)}"
    name = anatomy.known_reading(values, codes) if unknown or wrong or absent else None
    if name and (unknown or wrong or len(anatomy.structure_volumes(values, CODE_SETS[name])) > len(volumes_ml)):
        remedy = f"set data.labels: {name} (option --labels {name})"
        findings.append(Finding("error", f"label values fit {name}: {why}", remedy, kind=UNKNOWN_CODES))
    elif unknown:
        held = {code % 256 for code in values.volume_ml}
        remedy = "say in data.labels what each value means, or correct the label map"
        if len(unknown) >= MIN_CUT and held <= {code % 256 for code in MMWHS.indices}:
            why, remedy = f"label values cut to 8 bits ({why})", "save the label map as 16 bits"
        elif len(values.volume_ml) > MANY_VALUES or (off.size and min(values.volume_ml) < 0):
            remedy = "an image? interpolated? resample label maps with nearest neighbour"
        remedy = f"{remedy}; {codes.title} uses {codes.listed}"
        findings.append(Finding("error", why, remedy, kind=UNKNOWN_CODES))
    elif not volumes_ml:
        findings.append(Finding("error", "empty label map: no voxel is labelled", "export the label map again"))
    else:
        if absent:
            listed = ", ".join(f"{name} ({codes.codes[name][0]})" for name in absent)
            remedy = "look at the label map; its missing structures are scored as absent"
            findings.append(Finding("warning", f"missing structures: {listed}", remedy, kind=f"missing {absent}"))
        if fits_a_heart:
            findings += _shape_findings(profiles, values, codes) or _meaning_findings(values, codes, wrong)
    return findings, volumes_ml, not off.size


def _shape_findings(profiles: list[NDArray[np.int64]], values: anatomy.ValueMap, codes: LabelCodes) -> list[Finding]:
    """Name what makes most of the other signs: a filled background, gaps, flat ends or scattered voxels."""
    total_ml = sum(values.volume_ml.values())
    for name, volume_ml in anatomy.structure_volumes(values, codes).items():
        if (share := volume_ml / total_ml) > MOST:
            what = f"{name} fills {share:.0%} of the label map: the background was saved as {name}?"
            return [Finding("error", what, "save the background as 0", kind="background")]
    for profile in profiles if len(profiles) == 3 else ():
        labelled = np.flatnonzero(profile)
        if len(labelled) <= FEW_SLICES < len(profile) // 4:
            what = f"only {len(labelled)} of {len(profile)} slices {'are' if len(labelled) > 1 else 'is'} labelled"
            return [Finding("warning", what, "label the whole heart, or take the label map out", kind="few slices")]
        if (step := int(np.median(np.diff(labelled)))) > 1:
            what = f"only every {step}{ORDINAL.get(step, 'th')} slice is labelled"
            return [Finding("error", what, "label all slices, or interpolate between the labelled ones", kind="gaps")]
    for profile in profiles if len(profiles) == 3 else ():
        first, *_, last = np.flatnonzero(profile)
        ends = [end for end, edge in ((first, 0), (last, len(profile) - 1)) if end != edge]
        if last - first >= MIN_SLICES and any(profile[end] > FLAT * profile.max() for end in ends):
            what = "labels end at a flat cut inside the heart, though the scan goes on"
            return [Finding("warning", what, "label the whole heart, or take the label map out", kind="flat")]
    if scattered := anatomy.scattered(values, codes):
        what = f"voxels of {', '.join(scattered)} are scattered, not one piece"
        return [Finding("warning", what, "look at the picture; remove what is noise", kind="scattered")]
    return []


def _meaning_findings(values: anatomy.ValueMap, codes: LabelCodes, wrong: list[str]) -> list[Finding]:
    """List signs, besides those in `wrong`, that values are read as other structures than they stand for."""
    findings = []
    if odd := anatomy.implausible_volumes(values, codes):
        remedy = "if most are too small or too large, mend the spacing in the header (cm? 1 mm assumed?); else look at"
        remedy += " the values' meaning in the picture of `crossmodalnet data check`"
        findings.append(Finding("warning", f"volumes of no adult heart: {', '.join(odd)}", remedy, kind="volumes"))
    if wrong:
        why = f"as {codes.title}, {wrong[0]}"
        exchanged = " and ".join(anatomy.exchanged_reading(values, codes) or ())
        what = f"labels of {exchanged} seem to be exchanged" if exchanged else "neighbours of no usual heart"
        what, kind = f"{what}: {why}", f"{EXCHANGED} {exchanged}" if exchanged else ""
        likely = f"exchange {exchanged} in this label map, or in data.labels if all are so" if exchanged else ""
        if exchanged and anatomy.NOT_ENCLOSED in wrong:
            findings.append(Finding("error", what, likely, kind=kind))
        else:
            likely = "mend the axes in the header" if anatomy.UPSIDE_DOWN in wrong else likely
            remedy = f"if the picture of `crossmodalnet data check` shows it, {likely or 'correct the label map'}"
            findings.append(Finding("warning", what, remedy, kind=kind))
    return findings


def _nonfinite_findings(num_bad: int) -> list[Finding]:
    if not num_bad:
        return []
    return [Finding("error", f"{num_bad} voxels are NaN or infinite", "export the file again")]


def _slabs(image: Any, thinned: list[NDArray[np.float32]]) -> Iterator[NDArray[Any]]:
    """Yield the voxels in slabs of the last axis, which bounds the memory of scaled images; append every few voxels."""
    shape = _spatial_shape(image.shape)
    steps = [max(1, -(-n // anatomy.COARSE)) for n in shape]
    firsts = [(n - 1) % step // 2 for n, step in zip(shape, steps, strict=True)]
    length = image.shape[-1]
    thickness = max(1, SLAB_VOXELS * length // max(1, int(np.prod(image.shape, dtype=np.int64))))
    for start in range(0, length, thickness):
        slab = np.asanyarray(image.dataobj[..., start : start + thickness])
        if len(shape) == 3:
            own = [*firsts[:2], (firsts[2] - start) % steps[2]]
            i, j, k = (slice(first, None, step) for first, step in zip(own, steps, strict=True))
            thinned.append(np.array(slab.reshape(*shape[:2], -1)[i, j, k], np.float32))
        yield slab
