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
Written = Callable[..., Path]
Image = nib.Nifti1Image


@pytest.fixture
def reference(written: Written) -> Image:
    """The same image as ITK writes it to NIfTI and nibabel reads it."""
    return nib.load(written("reference.nii.gz"))


def assert_same_voxels(path: Path, reference: Image, atol: float) -> None:
    found = read_scan(path)
    assert np.array_equal(np.asarray(found.image.dataobj), np.asarray(reference.dataobj))
    assert np.allclose(found.image.affine, reference.affine, atol=atol)
    assert found.pixdim_mm.tolist() == [0.5, 0.75, 2.0]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr", "a.mha", "a.mhd", "a.NRRD", "a.nii", "a.nii.gz"])
def test_formats_have_the_same_voxels(name: str, packed: bool, written: Written, reference: Image) -> None:
    path = written(name.lower(), packed=packed)
    assert_same_voxels(path.rename(path.with_name(name)), reference, atol=1e-5)


def test_dicom_folder_is_one_volume_beside_other_files(series: WriteSeries, reference: Image) -> None:
    folder = series()
    (folder / "DICOMDIR.txt").write_text("notes")
    assert_same_voxels(folder, reference, atol=1e-4)


def test_locale_is_restored(series: WriteSeries) -> None:
    before = locale.setlocale(locale.LC_ALL)
    read_scan(series())
    series_files(series())
    assert locale.setlocale(locale.LC_ALL) == before


def test_missing_slice_and_tilted_gantry_are_refused(series: WriteSeries) -> None:
    with pytest.raises(ValueError, match=r"2\.00 to 4\.00 mm apart: a slice is missing"):
        read_scan(series(leave_out=3))
    with pytest.raises(ValueError, match=r"shifted by 0\.30 mm from one to the next: a tilted gantry"):
        read_scan(series(shift_mm=0.3))


@pytest.fixture
def study(image: sitk.Image, series: WriteSeries) -> Path:
    """Two series in one folder; the second is brighter by 5."""
    series(t0008103e="Heart 0.75", t00200011="3")
    return series(image + 5, "2", t0008103e="Heart 0.75 late", t00200011="12")


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
    series(image + 9, "3", t00080060="MR", t0008103e="Heart SSFP")
    assert np.asarray(read_scan(study, modality="MR").image.dataobj).min() == -100 + 9
    names = ["heart 0.75 late", "ssfp"]
    found = [read_scan(study, series=names, modality=modality) for modality in ("CT", "MR")]
    assert [np.asarray(scan.image.dataobj).min() for scan in found] == [-100 + 5, -100 + 9]
    with pytest.raises(ValueError, match="holds 3 DICOM series, none of them is named"):
        read_scan(study, series=["ssfp"], modality="CT")
    with pytest.raises(ValueError, match="holds 3 DICOM series, one must be named"):
        read_scan(study, modality="CT")


def test_folder_without_dicom_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ValueError, match="holds no DICOM series"):
        read_scan(tmp_path)
    (tmp_path / "a.txt").rename(tmp_path / "a.NII.gz")
    with pytest.raises(ValueError, match=r"other images: give one of them, such as a\.NII\.gz"):
        read_scan(tmp_path)
    (tmp_path / "a.NII.gz").write_text("\n<!DOCTYPE html><html>404")
    with pytest.raises(ValueError, match="is a web page, not a NIfTI file"):
        read_scan(tmp_path / "a.NII.gz")


def test_slice_linked_out_of_the_folder_is_refused(series: WriteSeries, tmp_path: Path) -> None:
    folder = series()
    slice_file = sorted(folder.iterdir())[0]
    slice_file.rename(tmp_path / "elsewhere.dcm")
    slice_file.symlink_to(tmp_path / "elsewhere.dcm")
    with pytest.raises(ValueError, match="a link that leaves the folder"):
        read_scan(folder)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha", "a.nii.gz"])
def test_truncated_files_are_refused(name: str, written: Written) -> None:
    path = written(name, packed=True)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"cannot be read to its end \(it ends early\)"):
        read_scan(path)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha", "a.nii.gz"])
def test_damaged_compression_is_refused(name: str, written: Written) -> None:
    path = written(name, packed=True)
    content = bytearray(path.read_bytes())
    content[-100] ^= 255
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"to its end \(its checksum or compression is wrong\)"):
        read_scan(path)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha", "a.nii", "a.mhd"])
def test_damaged_files_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"NRRD0004\nrubbish")
    with pytest.raises(ValueError, match=r"damaged|not a NIfTI"):
        read_scan(tmp_path / name)


def test_format_is_not_guessed(written: Written, tmp_path: Path) -> None:
    written("a.vtk").rename(tmp_path / "a.nrrd")
    with pytest.raises(ValueError, match="is not nrrd"):
        read_scan(tmp_path / "a.nrrd")


def test_implausible_sizes_are_refused(written: Written) -> None:
    path = written("a.mhd")
    path.write_text(path.read_text("utf-8").replace("DimSize = 8 7 6", "DimSize = 80000 70000 60000"))
    with pytest.raises(ValueError, match="implausibly large: 80000 x 70000 x 60000"):
        read_scan(path)
    path.write_text(path.read_text("utf-8").replace("80000 70000 60000", "800 700 600"))
    with pytest.raises(ValueError, match="truncated: the header promises 336000000 voxels"):
        read_scan(path)


@pytest.mark.parametrize("voxels", ["../secret.raw", "/etc/passwd", "LIST", "a%03d.raw 1 9 1", "..", "lacks.raw"])
@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
def test_voxels_in_another_folder_are_refused(voxels: str, suffix: str, written: Written) -> None:
    path = written(f"inside/a{suffix}")
    path.with_name("a.raw").rename(path.parent.with_name("secret.raw"))
    path.write_text(path.read_text("utf-8").replace("a.raw", voxels))
    with pytest.raises(ValueError, match=r"header names"):
        read_scan(path)


def test_voxels_linked_to_another_folder_are_refused(written: Written, tmp_path: Path) -> None:
    path = written("inside/a.mhd")
    path.with_name("a.raw").rename(tmp_path / "secret.raw")
    path.with_name("a.raw").symlink_to(tmp_path / "secret.raw")
    with pytest.raises(ValueError, match="a link to another folder"):
        read_scan(path)


def test_colour_images_are_refused(written: Written) -> None:
    colours = sitk.GetImageFromArray(np.zeros((4, 5, 6, 3), np.uint8), isVector=True)
    with pytest.raises(ValueError, match="3 components"):
        read_scan(written("a.nrrd", colours))


def test_unknown_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ValueError, match=r"is none of \.nii, .* or a folder of DICOM"):
        read_scan(tmp_path / "a.txt")
    with pytest.raises(ValueError, match="cannot be read"):
        read_scan(tmp_path / "lacks.nrrd")
    (tmp_path / "a.dcm").write_text("x")
    with pytest.raises(ValueError, match="one DICOM file: give the folder of its series"):
        read_scan(tmp_path / "a.dcm")


def test_pipes_are_refused(series: WriteSeries, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.nii")
    with pytest.raises(ValueError, match="no regular file"):
        read_scan(tmp_path / "a.nii")
    folder = series()
    os.mkfifo(folder / "b.dcm")
    with pytest.raises(ValueError, match=r"holds b\.dcm, which is no regular file"):
        read_scan(folder)


@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr", "a.mha", "a.mhd"])
def test_missing_orientation_is_noted(name: str, written: Written) -> None:
    path = written(name)
    assert read_scan(path).says_orientation
    assert read_scan(path).notes == ()
    end = b"\n\n" if name.startswith("a.n") else b"ElementDataFile"
    head, separator, rest = path.read_bytes().partition(end)
    kept = [line for line in head.split(b"\n") if not line.startswith((b"space", b"TransformMatrix"))]
    path.write_bytes(b"\n".join(kept) + separator + rest)
    found = read_scan(path)
    assert not found.says_orientation
    assert ["nothing of orientation" in note for note in found.notes] == [True]
    assert nib.aff2axcodes(found.image.affine) == ("L", "P", "S")


@pytest.mark.parametrize("num_slices", [1, 6])
def test_dicom_modality_is_compared(num_slices: int, image: sitk.Image, series: WriteSeries) -> None:
    found = read_scan(series(image[:, :, :num_slices], t00080060="MR"))
    assert found.tags["Modality"] == "MR"
    assert found.notes_as("MR") == ()
    assert found.notes_as("CT") == ("DICOM says that it is MR: taken as CT, as it was given",)
