"""Prepare images for ANTs; estimate, write, read and apply its transforms.

ANTs is reproducible only if the environment has `ANTS_RANDOM_SEED` and `ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS=1` before
its first import; it ignores its argument `random_seed`. Each call needs a fresh folder.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from crossmodalnet.imaging.geometry import WORLD, reoriented
from crossmodalnet.imaging.intensity import NUM_BINS, mutual_information
from crossmodalnet.imaging.resample import Interpolation, coarsen, to_sitk
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.volume import RAS_TO_LPS, Grid, Volume
from crossmodalnet.processes import plain_folder

Centre = Literal["centre_of_mass", "geometric_centre"]
CT_WINDOW_HU = (-200.0, 600.0)
MR_PERCENTILES = (1.0, 99.0)
# Of the middle of an image and of the steps from voxel to voxel, mm.
_PLACE_DECIMALS, _AXIS_DECIMALS = 2, 4
_AFFINE_SHRINK = (4, 2, 1)
_AFFINE_SMOOTHING = (2, 1, 0)
_SAMPLING_RATE = 0.25
# Of the moving image's volume in the fixed one's; margin of the cut.
_LEAST_SHARE, _REACH_MM = 0.2, 40.0
_INTERPOLATORS = {"linear": "linear", "nearest": "genericLabel"}
_TO_LPS = RAS_TO_LPS.diagonal()[:3]


@dataclass(frozen=True)
class Transform:
    """ANTs files of a transform from the fixed to the moving image's world; `warp` comes before the affine part."""

    affine: Path
    warp: Path | None
    start: str = ""  # where the engine chose it itself

    @property
    def files(self) -> list[str]:
        """Files in ANTs' order: the last is applied to a fixed point first."""
        return [str(self.affine)] if self.warp is None else [str(self.warp), str(self.affine)]

    @property
    def inverse_warp(self) -> Path | None:
        """Inverse displacement field, on the same grid as `warp`."""
        return None if self.warp is None else self.warp.with_name("syn1InverseWarp.nii.gz")

    @property
    def inverse_files(self) -> list[str]:
        """Files from the moving to the fixed image's world, for `warp` with `inverted`."""
        return [str(self.affine)] if self.inverse_warp is None else [str(self.affine), str(self.inverse_warp)]


def prepare(image: Volume, modality: Modality, spacing_mm: float) -> Volume:
    """Prepare an image of either modality for registration."""
    return prepare_ct(image, spacing_mm) if modality is Modality.CT else prepare_mr(image, spacing_mm)


def prepare_ct(ct: Volume, spacing_mm: float) -> Volume:
    """Coarsen a CT and map -200..600 HU to 0..1: air and lung are 0, metal does not dominate."""
    low, high = CT_WINDOW_HU
    # In place: a real scan has 250 MB.
    scaled = ct.data.astype(np.float32)
    scaled -= low
    scaled /= high - low
    return coarsen(_placed(Volume(np.clip(scaled, 0, 1, out=scaled), ct.affine)), spacing_mm)


def prepare_mr(mr: Volume, spacing_mm: float) -> Volume:
    """Coarsen an MR and map its 1st..99th percentile to 0..1; a constant image becomes 0."""
    coarse = coarsen(_placed(Volume(mr.data.astype(np.float32), mr.affine)), spacing_mm)
    low, high = np.percentile(coarse.data, MR_PERCENTILES)
    scaled = (coarse.data - low) / max(high - low, np.finfo(np.float32).tiny)
    return Volume(np.clip(scaled, 0, 1).astype(np.float32), coarse.affine)


def _placed(image: Volume) -> Volume:
    """Reorient an image to the world axes, and round its position by at most a few hundredths of a millimetre.

    Single precision headers differ by some 1e-5 mm, which a registration amplifies to tenths of a millimetre.
    """
    turned = reoriented(image, WORLD)
    middle = (np.array(turned.data.shape)[:, None] - 1) / 2
    affine = np.eye(4)
    affine[:3, :3] = np.round(turned.affine[:3, :3], _AXIS_DECIMALS)
    affine[:3, 3] = (np.round(turned.grid.to_world(middle), _PLACE_DECIMALS) - affine[:3, :3] @ middle)[:, 0]
    return Volume(turned.data, affine)


def turned_back(moved: Volume, grid: Grid) -> Volume:
    """Reorient a warped volume from the world axes, along which engines warp for equal results, to the grid itself."""
    return Volume(reoriented(moved, grid).data, grid.affine)


def similarity(fixed: Volume, moving: Volume, files: Sequence[str | Path]) -> float:
    """Compute the mutual information of prepared images on the whole fixed grid: small overlaps must not score well."""
    moved = warp(moving, fixed.grid, files, "linear").data
    return mutual_information(fixed.data.ravel(), np.clip(moved, 0, 1).ravel())


def shared_information(fixed: Volume, moving: Volume, files: Sequence[str | Path]) -> float:
    """Compute the mutual information of prepared images in their overlap, times the overlap's share of the smaller one.

    Unlike `similarity`, it is fair where one field of view is much larger than the other.
    """
    moved = warp(moving, fixed.grid, files, "linear", fill=-1.0).data
    seen = moved >= 0
    share = share_of_smaller(float(seen.mean()), fixed, moving)
    return share * mutual_information(fixed.data[seen], np.clip(moved[seen], 0, 1))


def share_of_smaller(seen: float, fixed: Volume, moving: Volume) -> float:
    """Turn the share of the fixed image's view that the other one covers into that of the smaller view, 0 to 1."""
    volumes_mm3 = fixed.grid.volume_mm3, moving.grid.volume_mm3
    return min(1.0, seen * volumes_mm3[0] / min(volumes_mm3))


def to_ants(volume: Volume) -> Any:
    """Convert a volume to an ANTsPy image, float32, geometry included."""
    import ants

    image = to_sitk(Volume(np.zeros((1, 1, 1), np.uint8), volume.affine))
    direction = np.array(image.GetDirection()).reshape(3, 3)
    return ants.from_numpy(volume.data.astype(np.float32), image.GetOrigin(), image.GetSpacing(), direction)


def linear(
    kind: Literal["Rigid", "Similarity", "Affine"],
    fixed: Volume,
    moving: Volume,
    iterations: tuple[int, int, int],
    start: Path,
    prefix: Path,
) -> Path:
    """Register linearly with Mattes mutual information from the transform in `start`; return the result's file."""
    import ants

    fixed = _within_reach(fixed, moving, start)
    ants.registration(
        to_ants(fixed), to_ants(moving), kind, initial_transform=str(start), outprefix=str(prefix),
        aff_metric="mattes", aff_sampling=NUM_BINS, aff_random_sampling_rate=_SAMPLING_RATE,
        aff_iterations=iterations, aff_shrink_factors=_AFFINE_SHRINK, aff_smoothing_sigmas=_AFFINE_SMOOTHING,
    )  # fmt: skip
    return Path(f"{prefix}0GenericAffine.mat")


def _within_reach(fixed: Volume, moving: Volume, start: Path) -> Volume:
    """Cut a far larger fixed image to what the moving one can reach: ANTs stops at once if few samples lie in both."""
    if not is_far_larger(fixed, moving):
        return fixed
    back = np.linalg.inv(read_affine(start))
    corners = back[:3, :3] @ moving.grid.to_world(moving.grid.corners(0.5)) + back[:3, 3:]
    return fixed.around(corners.min(axis=1) - _REACH_MM, corners.max(axis=1) + _REACH_MM)


def is_far_larger(fixed: Volume, moving: Volume) -> bool:
    """Check whether a field of view is so much larger than another that registration gets lost in it."""
    return moving.grid.volume_mm3 < _LEAST_SHARE * fixed.grid.volume_mm3


def warp(
    moving: Volume,
    grid: Grid,
    files: Sequence[str | Path],
    interpolation: Interpolation,
    fill: float = 0.0,
    *,
    inverted: bool = False,
) -> Volume:
    """Warp an image (float32) or label map (its own type) to a grid in the fixed image's world.

    Args:
        files: files of the transform, in ANTs' order.
        interpolation: linear for images, nearest (ANTs' genericLabel) for label maps.
        inverted: true for `Transform.inverse_files`, whose first is an affine to be inverted.
    """
    import ants

    reference = to_ants(Volume(np.zeros(grid.shape, np.float32), grid.affine))
    with ExitStack() as stack:
        folders = {parent: stack.enter_context(plain_folder(parent)) for parent in {Path(f).parent for f in files}}
        warped = ants.apply_transforms(
            reference, to_ants(moving), [str(folders[Path(f).parent] / Path(f).name) for f in files],
            _INTERPOLATORS[interpolation], whichtoinvert=[inverted, *(False for _ in files[1:])],
            defaultvalue=fill, singleprecision=True,
        ).numpy()  # fmt: skip
    if interpolation == "nearest":
        return Volume(np.rint(warped).astype(moving.data.dtype), grid.affine)
    return Volume(warped.astype(np.float32), grid.affine)


def write_translation(fixed: Volume, moving: Volume, centre: Centre, path: Path, up_mm: float = 0.0) -> None:
    """Write the translation between the centres of two prepared images, plus `up_mm` to the head, to a `.mat` file."""
    origin = _centre_mm(fixed, centre)
    target = _centre_mm(moving, centre) + np.array([0.0, 0.0, up_mm])
    _write_linear(path, [*np.eye(3).ravel(), *(_TO_LPS * (target - origin))], list(_TO_LPS * origin))


def write_affine(matrix: NDArray[np.float64], path: Path) -> None:
    """Write a map from the fixed to the moving image's world, 4x4 in RAS mm, to a `.mat` file."""
    flipped = RAS_TO_LPS @ matrix @ RAS_TO_LPS
    _write_linear(path, [*flipped[:3, :3].ravel(), *flipped[:3, 3]], [0.0, 0.0, 0.0])


def read_affine(path: Path) -> NDArray[np.float64]:
    """Read a linear ANTs transform: 4x4, RAS mm, from the fixed to the moving image's world."""
    import ants

    with plain_folder(path.parent) as folder:
        transform = ants.read_transform(str(folder / path.name))
    numbers = np.array(transform.parameters, np.float64)
    centre = np.array(transform.fixed_parameters, np.float64)[:3]
    matrix = np.eye(4)
    matrix[:3, :3] = numbers[:9].reshape(3, 3)
    matrix[:3, 3] = numbers[9:12] + centre - matrix[:3, :3] @ centre
    return np.asarray(RAS_TO_LPS @ matrix @ RAS_TO_LPS, np.float64)


def write_field(path: Path, vectors_mm: NDArray[np.floating], affine: NDArray[np.float64]) -> None:
    """Write a displacement `(i, j, k, 3)`, RAS mm, as ANTs does: NIfTI `(i, j, k, 1, 3)`, LPS, float32."""
    image = nib.Nifti1Image((vectors_mm[:, :, :, None] * _TO_LPS).astype(np.float32), affine)
    image.header.set_intent("vector")
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


def read_field(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Read a displacement field in ANTs' format: `(i, j, k, 3)`, RAS mm, and its grid's affine."""
    image = nib.load(path)
    vectors = np.asarray(image.dataobj, np.float32)[:, :, :, 0] * _TO_LPS.astype(np.float32)
    return vectors, np.asarray(image.affine, np.float64)


def _write_linear(path: Path, parameters: Sequence[float], centre: Sequence[float]) -> None:
    import ants

    transform = ants.new_ants_transform(
        dimension=3, transform_type="AffineTransform", parameters=parameters, fixed_parameters=centre
    )
    with plain_folder(path.parent) as folder:
        ants.write_transform(transform, str(folder / path.name))


def _centre_mm(volume: Volume, centre: Centre) -> NDArray[np.float64]:
    """Compute the centre of mass, or of the grid where the image is empty; `(3,)` in RAS mm."""
    index = (np.array(volume.data.shape) - 1) / 2
    total = float(volume.data.sum(dtype=np.float64))
    if centre == "centre_of_mass" and total > 0:
        sums = [volume.data.sum(axis=axes, dtype=np.float64) for axes in ((1, 2), (0, 2), (0, 1))]
        index = np.array([np.arange(len(s)) @ s / total for s in sums])
    return volume.grid.to_world(index[:, None])[:, 0]
