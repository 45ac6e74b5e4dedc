from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from crossmodalnet.imaging import inspect as module
from crossmodalnet.imaging.codes import CODE_SETS
from crossmodalnet.imaging.inspect import Inspection, Kind, grid_findings, inspect_file, unlike_modality
from crossmodalnet.imaging.structures import ABBREVIATIONS, Modality, to_codes
from crossmodalnet.imaging.volume import Grid
from crossmodalnet.phantom.generate import make_subject
from crossmodalnet.phantom.scanner import Scanner

CODES = np.resize(np.array([0, 500, 600, 420, 550, 205, 820, 850], np.int16), (5, 6, 7))
NOISE = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)
AFFINE = np.diag([1.0, 2.0, 3.0, 1.0])


def inspected(tmp_path: Path, data: np.ndarray[Any, Any], kind: Kind, affine: Any = AFFINE) -> Inspection:
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "x.nii.gz")
    return inspect_file(tmp_path / "x.nii.gz", kind)


def whats(inspection: Inspection) -> list[str]:
    return [f"{problem.severity}: {problem.what}" for problem in inspection.findings]


def test_sound_files(tmp_path: Path) -> None:
    image, label = inspected(tmp_path, NOISE, "image"), inspected(tmp_path, CODES, "label")
    assert image.findings == label.findings == []
    assert image.grid is not None
    assert image.grid.same_as(Grid((5, 6, 7), AFFINE))
    assert inspected(tmp_path, NOISE[..., None], "image").grid is not None


@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 7, 2), (5, 6, 1)])
def test_not_3d(tmp_path: Path, shape: tuple[int, ...]) -> None:
    assert "error: not 3-D: shape (5, 6" in whats(inspected(tmp_path, np.resize(NOISE, shape), "image"))[0]
    if len(shape) == 4:
        [found] = inspected(tmp_path, np.resize(CODES > 0, shape).astype(np.uint8), "label").findings
        assert found.remedy.startswith("one channel per structure?")


def test_nonfinite_voxels_are_counted_in_all_slabs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLAB_VOXELS", 60)
    data = NOISE.copy()
    data[0, 0, 0] = np.nan
    data[4, 5, 5:] = -np.inf
    assert whats(inspected(tmp_path, data, "image")) == ["error: 3 voxels are NaN or infinite"]


def test_all_faults_of_a_label_map_are_listed(tmp_path: Path) -> None:
    data = CODES.astype(np.float32)
    data[CODES == 850] = 7
    data[CODES == 820] = 419.5
    data[0, 0, 0] = np.nan
    assert whats(inspected(tmp_path, data, "label")) == [
        "error: 1 voxels are NaN or infinite",
        "error: unknown label codes 7, 419.5",
    ]


def test_exchanged_structures_are_named_with_the_remedy(tmp_path: Path) -> None:
    label = make_subject(Modality.CT, 6.0, 4, 0)[1]
    for exchange, severity in (({3: 6, 6: 3}, "warning"), ({1: 5, 5: 1}, "error")):
        indices = np.array([exchange.get(index, index) for index in range(8)], np.uint8)
        [found] = inspected(tmp_path, to_codes(indices[label.data]), "label", label.affine).findings
        names = " and ".join(ABBREVIATIONS[index - 1] for index in sorted(exchange))
        assert (found.severity, names in found.remedy and "data.labels" in found.remedy) == (severity, True)


@pytest.mark.parametrize("scanner", ["reference", "native", "enhanced"])
@pytest.mark.parametrize("modality", Modality)
def test_inverted_grey_values_are_told_from_sound_ones(modality: Modality, scanner: Scanner) -> None:
    image, labels = make_subject(modality, 6.0, 4, 0, scanner)
    inside = tuple(slice(max(0, places.min() - 2), places.max() + 3) for places in np.nonzero(labels.data))
    assert not module.seems_inverted(image.data, modality)
    assert not module.seems_inverted(image.data[inside], modality)
    assert module.seems_inverted(image.data.max() + image.data.min() - image.data, modality)
    assert modality is Modality.MR or module.seems_inverted(-image.data, modality)


@pytest.mark.parametrize(
    ("change", "what", "remedy"),
    [
        (lambda x: (x % 256).astype(np.uint8), "label values cut to 8 bits", "save the label map as 16 bits"),
        (lambda x: np.arange(x.size, dtype=np.int16).reshape(x.shape), "unknown", "an image? interpolated?"),
        (lambda x: x * (np.arange(x.shape[2]) == 20), "only 1 of ", "label the whole heart"),
        (lambda x: x * (np.arange(x.shape[2]) % 3 == 0), "only every 3rd slice", "label all slices"),
        (lambda x: x * (np.arange(len(x)) > 17)[:, None, None], "labels end at a flat cut", "label the whole heart"),
        (lambda x: np.where(x == 0, 850, x).astype(np.int16), "PA fills 9", "save the background as 0"),
        (
            lambda x: np.where(np.random.default_rng(0).random(x.shape) < 0.01, 850, x).astype(np.int16),
            "voxels of PA are scattered",
            "look at the picture",
        ),
    ],
)
def test_causes_of_odd_label_maps(tmp_path: Path, change: Any, what: str, remedy: str) -> None:
    label = make_subject(Modality.CT, 6.0, 4, 0)[1]
    found = inspected(tmp_path, change(to_codes(label.data)), "label", label.affine).findings
    assert [(f.what[: len(what)], f.remedy[: len(remedy)]) for f in found if "missing" not in f.what] == [
        (what, remedy)
    ]


def test_values_of_one_structure_that_fit_another_data_set_whole(tmp_path: Path) -> None:
    label = make_subject(Modality.CT, 6.0, 4, 0)[1]
    nib.save(
        nib.Nifti1Image(np.array([0, 3, 5, 2, 4, 1, 6, 7], np.uint8)[label.data], label.affine), tmp_path / "x.nii"
    )
    [found] = inspect_file(tmp_path / "x.nii", "label", CODE_SETS["totalsegmentator_v1"]).findings
    assert (found.severity, found.remedy.split(" (")[0]) == ("error", "set data.labels: totalsegmentator")


def test_sizes_in_metres_and_label_maps_as_images_are_errors(tmp_path: Path) -> None:
    found = inspected(tmp_path, np.resize(NOISE, (33, 33, 33)), "image", np.diag([2e-3, 2e-3, 2e-3, 1.0]))
    assert whats(found) == ["error: is 0.066 x 0.066 x 0.066 mm, smaller than any heart"]
    label = make_subject(Modality.MR, 5.0, 4, 0)[1]
    [odd] = inspected(tmp_path, to_codes(label.data), "label", label.affine * 0.4).findings
    assert "mend the spacing in the header" in odd.remedy
    path = tmp_path / "label.nii.gz"
    nib.save(nib.Nifti1Image(to_codes(label.data), label.affine), path)
    assert "error: image has 8 grey levels, as a label map or a mask" in whats(
        inspect_file(path, "image", modality=Modality.MR)
    )


def test_constant_image_has_no_digest(tmp_path: Path) -> None:
    found = inspected(tmp_path, np.full_like(NOISE, 3), "image")
    assert whats(found) == ["error: constant image: every voxel is 3"]
    assert found.digest == ""


@pytest.mark.parametrize("spacing", [20.5, 1e-9])
def test_degenerate_spacing(tmp_path: Path, spacing: float) -> None:
    found = whats(inspected(tmp_path, NOISE, "image", np.diag([1, spacing, 3, 1])))
    assert found[0].startswith(f"error: degenerate spacing (affine): 1 x {spacing:g} x 3 mm")


def test_singular_affine(tmp_path: Path) -> None:
    dependent, bad = AFFINE.copy(), AFFINE.copy()
    dependent[:3, 1] = dependent[:3, 0]
    what = "error: singular affine: its axes are not independent"
    assert whats(inspected(tmp_path, NOISE, "image", dependent)) == [what]
    bad[0, 3] = np.nan
    assert inspected(tmp_path, NOISE, "image", bad).grid is None


def test_oblique_grid_is_not_singular(tmp_path: Path) -> None:
    turned = np.eye(4)
    turned[:2, :2] = np.array([[0.6, -0.8], [0.8, 0.6]]) * [0.3, 12.0]
    assert whats(inspected(tmp_path, NOISE, "image", turned)) == []


def test_digest_depends_on_values_alone(tmp_path: Path) -> None:
    whole = np.round(NOISE * 100).astype(np.int16)
    one = inspected(tmp_path, whole, "image")
    assert inspected(tmp_path, whole.astype(np.float32), "image", np.eye(4)).digest == one.digest
    whole[0, 0, 0] += 1
    assert inspected(tmp_path, whole, "image").digest != one.digest


def test_grids_are_compared() -> None:
    x_mm = np.outer([1, 0, 0, 0], [0, 0, 0, 1])
    grid, near, far = (Grid((10, 10, 10), np.eye(4) + shift * x_mm) for shift in (0, 0.05, 0.25))
    assert grid_findings(grid, near) == []
    [moved] = grid_findings(grid, far)
    assert "affines differ by up to 0.25 mm" in moved.what
    [other] = grid_findings(grid, Grid((10, 10, 9), np.eye(4)))
    assert other.what == "label map has shape (10, 10, 9), its image (10, 10, 10): different grids"


@pytest.mark.parametrize(
    ("low", "high", "modality", "says"),
    [
        (-1024.0, 3071.0, Modality.CT, None),
        (-1024.0, 30000.0, Modality.CT, None),
        (-1e33, 1e33, Modality.CT, "CT has values from -1e+33 to 1e+33, beyond 65536 HU"),
        (-1024.0, 1e6, Modality.CT, "beyond 65536 HU"),
        (0.0, 900.0, Modality.CT, "CT has no voxel below -300 HU (0 is the least): is it in HU, and is it a CT?"),
        (0.0, 3071.0, Modality.CT, "if its values are HU + 1024 (stored without intercept), subtract 1024"),
        (0.0, 1e6, Modality.MR, None),
        (-1024.0, 3071.0, Modality.MR, "MR has voxels down to -1024"),
    ],
)
def test_values_unlike_the_modality(low: float, high: float, modality: Modality, says: str | None) -> None:
    found = unlike_modality(low, high, modality)
    assert (found is None) == (says is None)
    assert says is None or (found is not None and says in ": ".join(found))
