"""DICOM segmentations, made from a series and read back by highdicom and SimpleITK."""

from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from crossmodalnet.imaging.dicom import series_files
from crossmodalnet.imaging.read import read_scan
from crossmodalnet.imaging.structures import STRUCTURES
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.inference.dicom_seg import make_seg

SHAPE = (12, 10, 8)  # columns, rows, slices


def write_series(folder: Path) -> Path:
    """Write an oblique CT with all that a real one has, names in no order of place."""
    turn = np.array([[0.96, 0.28, 0.0], [-0.28, 0.96, 0.0]])
    voxels = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE[::-1])
    for k in range(SHAPE[2]):
        meta = pydicom.dataset.FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, f"1.2.3.4.{k + 1}"
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        slice_ = pydicom.Dataset()
        slice_.file_meta = meta
        for name, value in {
            "SOPClassUID": CTImageStorage, "SOPInstanceUID": f"1.2.3.4.{k + 1}", "SeriesInstanceUID": "1.2.3.4",
            "StudyInstanceUID": "1.2.3", "FrameOfReferenceUID": "1.2.3.5", "Modality": "CT", "PatientID": "p1",
            "PatientName": "A^B", "PatientBirthDate": "", "PatientSex": "", "StudyDate": "", "StudyTime": "",
            "StudyID": "", "AccessionNumber": "", "ReferringPhysicianName": "", "SeriesNumber": 4, "InstanceNumber": k,
            "ImagePositionPatient": [-11.5, 7.25, 30 + 2.5 * k], "ImageOrientationPatient": turn.ravel().tolist(),
            "PixelSpacing": [1.5, 1.5], "SliceThickness": 2.5, "Rows": SHAPE[1], "Columns": SHAPE[0],
            "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 16,
            "HighBit": 15, "PixelRepresentation": 1, "RescaleIntercept": -1000, "RescaleSlope": 1,
            "PixelData": voxels[k].tobytes(),
        }.items():  # fmt: skip
            setattr(slice_, name, value)
        folder.mkdir(exist_ok=True)
        slice_.save_as(folder / f"{(k * 5) % 8}.dcm", enforce_file_format=True)
    return folder


@pytest.fixture
def made(tmp_path: Path) -> tuple[Volume, list[Path], Any]:
    """Labels on the grid of a series (no pulmonary artery), its files, and the SEG that was written and read."""
    folder = write_series(tmp_path / "ct")
    affine = np.asarray(read_scan(folder).image.affine, np.float64)
    labels = Volume(np.random.default_rng(0).integers(0, 7, SHAPE).astype(np.uint8), affine)
    files = series_files(folder, ())
    make_seg(labels, files, "crossmodalnet, seed 0", "one").save_as(tmp_path / "seg.dcm")
    return labels, files, highdicom.seg.segread(tmp_path / "seg.dcm")


def test_highdicom_reads_the_segments(made: tuple[Volume, list[Path], Any]) -> None:
    labels, files, seg = made
    sources = [pydicom.dcmread(file).SOPInstanceUID for file in files]
    for structure in STRUCTURES[:-1]:
        (number,) = seg.get_segment_numbers(segment_label=structure.name)
        found = seg.get_pixels_by_source_instance(
            sources, segment_numbers=[number], ignore_spatial_locations=False
        )
        np.testing.assert_array_equal(found[..., 0].T, labels.data == structure.index)


def test_simpleitk_reads_the_frames(made: tuple[Volume, list[Path], Any], tmp_path: Path) -> None:
    labels, _, seg = made
    frames = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "seg.dcm")))
    assert (
        len(frames) == 6 * SHAPE[2]
    )  # every slice has a voxel of every structure but the one that is missing
    for frame, group in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        index = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        height = group.PlanePositionSequence[0].ImagePositionPatient[2]
        np.testing.assert_array_equal(frame > 0, (labels.data[:, :, round((height - 30) / 2.5)] == index).T)


def test_codes_and_references(made: tuple[Volume, list[Path], Any]) -> None:
    _, _, seg = made
    assert seg.FrameOfReferenceUID == "1.2.3.5"
    assert seg.PatientID == "p1"
    terms = {s.SegmentLabel: s.SegmentedPropertyTypeCodeSequence[0].CodeValue for s in seg.SegmentSequence}
    assert terms["left atrium blood cavity"] == "82471001"
    assert terms["myocardium of the left ventricle"] == "74281007"
    assert {s.SegmentedPropertyCategoryCodeSequence[0].CodeValue for s in seg.SegmentSequence} == {"91723000"}
    assert "pulmonary artery" not in terms
    assert "not for diagnosis" in seg.ContentDescription


def test_uids_depend_on_the_identity(made: tuple[Volume, list[Path], Any]) -> None:
    labels, files, seg = made
    assert make_seg(labels, files, "m", "one").SOPInstanceUID == seg.SOPInstanceUID
    assert make_seg(labels, files, "m", "two").SOPInstanceUID != seg.SOPInstanceUID


def test_tolerance_of_the_positions_of_slices(made: tuple[Volume, list[Path], Any]) -> None:
    labels, files, _ = made
    assert labels.grid.tolerance_mm == pytest.approx(0.15)

    def seg(shift_mm: float) -> Any:
        moved = labels.affine.copy()
        moved[2, 3] += shift_mm
        return make_seg(Volume(labels.data, moved), files, "m", "one")

    seg(0.9 * 0.15)
    for shift_mm in (0.17, 2.5):
        with pytest.raises(ValueError, match=rf"lie {shift_mm:.2f} mm from those of the label map"):
            seg(shift_mm)


def test_incomplete_series_are_rejected(made: tuple[Volume, list[Path], Any]) -> None:
    labels, files, _ = made
    with pytest.raises(ValueError, match="has 7 files, the label map 8 slices"):
        make_seg(labels, files[1:], "m", "one")
    with pytest.raises(ValueError, match="must hold a structure"):
        make_seg(Volume(np.zeros(SHAPE, np.uint8), labels.affine), files, "m", "one")
    for file in files:
        bare = pydicom.dcmread(file)
        del bare.FrameOfReferenceUID
        bare.save_as(file)
    with pytest.raises(ValueError, match="lacks what a DICOM segmentation refers to"):
        make_seg(labels, files, "m", "one")
