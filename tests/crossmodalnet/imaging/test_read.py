import locale
import os
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from crossmodalnet.imaging.dicom import series_files
from crossmodalnet.imaging.read import read_scan

WriteSeries = Callable[..., Path]


def written(image: sitk.Image, path: Path, *, packed: bool = False) -> Path:
    sitk.WriteImage(image, str(path), packed)
    return path


@pytest.fixture
def reference(image: sitk.Image, tmp_path: Path) -> nib.Nifti1Image:
    """The same image as ITK writes it to NIfTI and nibabel reads it."""
    return nib.load(written(image, tmp_path / "reference.nii.gz"))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr", "a.mha", "a.mhd", "a.NRRD", "a.nii", "a.nii.gz"])
def test_formats_give_the_same_voxels_at_the_same_place(
    name: str, packed: bool, image: sitk.Image, reference: nib.Nifti1Image, tmp_path: Path
) -> None:
    path = written(image, tmp_path / name.lower(), packed=packed).rename(tmp_path / name)
    found = read_scan(path)
    assert np.array_equal(np.asarray(found.image.dataobj), np.asarray(reference.dataobj))
    assert np.allclose(found.image.affine, reference.affine, atol=1e-5)
    assert found.pixdim_mm.tolist() == [0.5, 0.75, 2.0]


def test_dicom_folder_is_one_volume(
    image: sitk.Image, series: WriteSeries, reference: nib.Nifti1Image, tmp_path: Path
) -> None:
    found = read_scan(series(tmp_path / "scan", image))
    assert np.array_equal(np.asarray(found.image.dataobj), np.asarray(reference.dataobj))
    assert np.allclose(found.image.affine, reference.affine, atol=1e-4)


def test_locale_is_restored(image: sitk.Image, series: WriteSeries, tmp_path: Path) -> None:
    before = locale.setlocale(locale.LC_ALL)
    read_scan(series(tmp_path / "scan", image))
    series_files(tmp_path / "scan")
    assert locale.setlocale(locale.LC_ALL) == before


def test_other_files_in_the_folder_are_ignored(
    image: sitk.Image, series: WriteSeries, tmp_path: Path
) -> None:
    folder = series(tmp_path / "scan", image)
    (folder / "DICOMDIR.txt").write_text("notes")
    assert read_scan(folder).image.shape == (8, 7, 6)


def test_missing_slice_is_refused(image: sitk.Image, series: WriteSeries, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"2\.00 to 4\.00 mm apart: a slice is missing"):
        read_scan(series(tmp_path / "scan", image, leave_out=3))


def test_tilted_gantry_is_refused(image: sitk.Image, series: WriteSeries, tmp_path: Path) -> None:
    series(tmp_path, image, shift_mm=0.3)
    with pytest.raises(ValueError, match=r"shifted by 0\.30 mm from one to the next: a tilted gantry"):
        read_scan(tmp_path)


@pytest.fixture
def study(image: sitk.Image, series: WriteSeries, tmp_path: Path) -> Path:
    """Two series in one folder; the second is brighter by 5."""
    series(tmp_path, image, "1", t0008103e="Heart 0.75", t00200011="3")
    series(tmp_path, image + 5, "2", t0008103e="Heart 0.75 late", t00200011="12")
    return tmp_path


def test_several_series_are_listed(study: Path) -> None:
    listed = r"Heart 0\.75 \(CT, number 3, 6 files\); Heart 0\.75 late \(CT, number 12, 6 files\)"
    with pytest.raises(ValueError, match=rf"holds 2 DICOM series, one must be named .*: {listed}"):
        read_scan(study)
    with pytest.raises(ValueError, match="holds 2 DICOM series, none of them is named"):
        read_scan(study, series=["1"])
    with pytest.raises(ValueError, match="one must be named"):
        read_scan(study, series=["heart"])


@pytest.mark.parametrize(
    ("names", "brighter"),
    [(["heart 0.75"], 0), (["LATE"], 5), (["3"], 0), (["12"], 5), (["1.2.3.2"], 5), (["other", "12"], 5)],
)
def test_series_is_chosen_by_description_number_or_uid(study: Path, names: list[str], brighter: int) -> None:
    assert np.asarray(read_scan(study, series=names).image.dataobj).min() == -100 + brighter


def test_series_is_chosen_by_modality(image: sitk.Image, series: WriteSeries, study: Path) -> None:
    series(study, image + 9, "3", t00080060="MR", t0008103e="Heart SSFP")
    assert np.asarray(read_scan(study, modality="MR").image.dataobj).min() == -100 + 9
    names = ["heart 0.75 late", "ssfp"]
    found = [read_scan(study, series=names, modality=modality) for modality in ("CT", "MR")]
    assert [np.asarray(scan.image.dataobj).min() for scan in found] == [-100 + 5, -100 + 9]
    with pytest.raises(ValueError, match="holds 3 DICOM series, none of them is named"):
        read_scan(study, series=["ssfp"], modality="CT")
    with pytest.raises(ValueError, match="holds 3 DICOM series, one must be named"):
        read_scan(study, modality="CT")


def test_folder_without_dicom_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scan").mkdir()
    (tmp_path / "scan" / "a.txt").write_text("x")
    with pytest.raises(ValueError, match="holds no DICOM series"):
        read_scan(tmp_path / "scan")


def test_slice_linked_out_of_the_folder_is_refused(
    image: sitk.Image, series: WriteSeries, tmp_path: Path
) -> None:
    folder = series(tmp_path / "scan", image)
    slice_file = sorted(folder.iterdir())[0]
    slice_file.rename(tmp_path / "elsewhere.dcm")
    slice_file.symlink_to(tmp_path / "elsewhere.dcm")
    with pytest.raises(ValueError, match="a link that leaves the folder"):
        read_scan(folder)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha", "a.nii.gz"])
def test_truncated_files_are_refused(name: str, image: sitk.Image, tmp_path: Path) -> None:
    path = written(image, tmp_path / name, packed=True)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"cannot be read to its end"):
        read_scan(path)


@pytest.mark.parametrize(
    ("name", "content"), [("a.nrrd", b"NRRD0004\nrubbish"), ("a.mha", b"x"), ("a.nii", b"x"), ("a.mhd", b"")]
)
def test_damaged_files_are_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged|not a NIfTI"):
        read_scan(tmp_path / name)


def test_format_is_not_guessed(image: sitk.Image, tmp_path: Path) -> None:
    written(image, tmp_path / "a.vtk").rename(tmp_path / "a.nrrd")
    with pytest.raises(ValueError, match="is not nrrd"):
        read_scan(tmp_path / "a.nrrd")


def test_implausible_sizes_are_refused(image: sitk.Image, tmp_path: Path) -> None:
    path = written(image, tmp_path / "a.mhd")
    path.write_text(path.read_text("utf-8").replace("DimSize = 8 7 6", "DimSize = 80000 70000 60000"))
    with pytest.raises(ValueError, match="implausibly large: 80000 x 70000 x 60000"):
        read_scan(path)
    path.write_text(path.read_text("utf-8").replace("80000 70000 60000", "800 700 600"))
    with pytest.raises(ValueError, match="truncated: the header promises 336000000 voxels"):
        read_scan(path)


@pytest.mark.parametrize(
    "voxels", ["../secret.raw", "/etc/passwd", "LIST", "a%03d.raw 1 9 1", "..", "lacks.raw"]
)
@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
def test_voxels_in_another_folder_are_refused(
    voxels: str, suffix: str, image: sitk.Image, tmp_path: Path
) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    path = written(image, folder / f"a{suffix}")
    (folder / "a.raw").rename(tmp_path / "secret.raw")
    path.write_text(path.read_text("utf-8").replace("a.raw", voxels))
    with pytest.raises(ValueError, match=r"header names"):
        read_scan(path)


def test_voxels_linked_to_another_folder_are_refused(image: sitk.Image, tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    path = written(image, tmp_path / "inside" / "a.mhd")
    path.with_name("a.raw").rename(tmp_path / "secret.raw")
    path.with_name("a.raw").symlink_to(tmp_path / "secret.raw")
    with pytest.raises(ValueError, match="a link to another folder"):
        read_scan(path)


def test_colour_images_are_refused(tmp_path: Path) -> None:
    colours = sitk.GetImageFromArray(np.zeros((4, 5, 6, 3), np.uint8), isVector=True)
    with pytest.raises(ValueError, match="3 components"):
        read_scan(written(colours, tmp_path / "a.nrrd"))


def test_unknown_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ValueError, match=r"is none of \.nii, .* or a folder of DICOM"):
        read_scan(tmp_path / "a.txt")
    with pytest.raises(ValueError, match="cannot be read"):
        read_scan(tmp_path / "lacks.nrrd")


def test_pipes_are_refused(image: sitk.Image, series: WriteSeries, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.nii")
    with pytest.raises(ValueError, match="no regular file"):
        read_scan(tmp_path / "a.nii")
    folder = series(tmp_path / "scan", image)
    os.mkfifo(folder / "b.dcm")
    with pytest.raises(ValueError, match=r"holds b\.dcm, which is no regular file"):
        read_scan(folder)


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("a.nrrd", ("space:", "space directions:", "space origin:")),
        ("a.nhdr", ("space:", "space directions:", "space origin:")),
        ("a.mha", ("TransformMatrix",)),
        ("a.mhd", ("TransformMatrix",)),
    ],
)
def test_missing_orientation_is_noted(
    name: str, lines: tuple[str, ...], image: sitk.Image, tmp_path: Path
) -> None:
    path = written(image, tmp_path / name)
    assert read_scan(path).says_orientation
    assert read_scan(path).notes == ()
    end = b"\n\n" if name.startswith("a.n") else b"ElementDataFile"
    head, separator, rest = path.read_bytes().partition(end)
    kept = [line for line in head.split(b"\n") if not line.startswith(tuple(text.encode() for text in lines))]
    path.write_bytes(b"\n".join(kept) + separator + rest)
    found = read_scan(path)
    assert not found.says_orientation
    assert found.notes == (
        "says nothing of orientation: axes assumed to run to the patient's left, back and head",
    )
    assert nib.aff2axcodes(found.image.affine) == ("L", "P", "S")


@pytest.mark.parametrize("num_slices", [1, 6])
def test_dicom_modality_is_compared_with_the_users(
    num_slices: int, image: sitk.Image, series: WriteSeries, tmp_path: Path
) -> None:
    folder = series(tmp_path / "scan", image[:, :, :num_slices], t00080060="MR")
    found = read_scan(folder)
    assert found.modality == "MR"
    assert found.notes_as("MR") == ()
    assert found.notes_as("CT") == ("DICOM says that it is MR: taken as CT, as it was given",)
