from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from crossmodalnet.imaging.dicom import series_files
from crossmodalnet.imaging.read import read_scan
from crossmodalnet.imaging.structures import STRUCTURES
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.inference.dicom_seg import make_seg
from tests.crossmodalnet.imaging.conftest import write_series

Made = tuple[Volume, list[Path], Any]

SHAPE = (12, 10, 7)  # columns, rows, slices


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Labels on the grid of an oblique series (no pulmonary artery), its files, and the SEG as it is read."""
    picture = sitk.GetImageFromArray(np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE[::-1]))
    picture.SetOrigin((-11.5, 7.25, 30))
    picture.SetSpacing((1.5, 1.5, 2.5))
    picture.SetDirection((0.96, -0.28, 0, 0.28, 0.96, 0, 0, 0, 1))
    tags = {"t00100020": "p1", "t00180050": "2.5", "t00200052": "1.2.3.5", "t00280030": "1.5\\1.5"}
    folder = write_series(tmp_path / "ct", picture, **tags)
    affine = np.asarray(read_scan(folder).image.affine, np.float64)
    labels = Volume(np.random.default_rng(0).integers(0, 7, SHAPE).astype(np.uint8), affine)
    files = series_files(folder, ())
    make_seg(labels, files, "crossmodalnet, seed 0", "one").save_as(tmp_path / "seg.dcm")
    return labels, files, highdicom.seg.segread(tmp_path / "seg.dcm")


def test_highdicom_reads_the_segments(made: Made) -> None:
    labels, files, seg = made
    sources = [pydicom.dcmread(file).SOPInstanceUID for file in files]
    for structure in STRUCTURES[:-1]:
        (number,) = seg.get_segment_numbers(segment_label=structure.name)
        found = seg.get_pixels_by_source_instance(sources, segment_numbers=[number])
        np.testing.assert_array_equal(found[..., 0].T, labels.data == structure.index)


def test_simpleitk_reads_the_frames(made: Made, tmp_path: Path) -> None:
    labels, _, seg = made
    frames = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "seg.dcm")))
    assert len(frames) == 6 * SHAPE[2]  # of the six structures, in every slice
    for frame, group in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        index = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        height = group.PlanePositionSequence[0].ImagePositionPatient[2]
        np.testing.assert_array_equal(frame > 0, (labels.data[:, :, round((height - 30) / 2.5)] == index).T)


def test_codes_and_references(made: Made) -> None:
    _, _, seg = made
    assert (seg.FrameOfReferenceUID, seg.PatientID) == ("1.2.3.5", "p1")
    terms = {s.SegmentLabel: s.SegmentedPropertyTypeCodeSequence[0].CodeValue for s in seg.SegmentSequence}
    assert terms["left atrium blood cavity"] == "82471001"
    assert terms["myocardium of the left ventricle"] == "74281007"
    assert {s.SegmentedPropertyCategoryCodeSequence[0].CodeValue for s in seg.SegmentSequence} == {"91723000"}
    assert "pulmonary artery" not in terms
    assert "not for diagnosis" in seg.ContentDescription


def test_uids_depend_on_the_identity(made: Made) -> None:
    labels, files, seg = made
    assert make_seg(labels, files, "m", "one").SOPInstanceUID == seg.SOPInstanceUID
    assert make_seg(labels, files, "m", "two").SOPInstanceUID != seg.SOPInstanceUID


def test_tolerance_of_the_positions_of_slices(made: Made) -> None:
    labels, files, _ = made
    assert labels.grid.tolerance_mm == pytest.approx(0.15)
    moved = labels.affine.copy()
    moved[2, 3] += 0.9 * 0.15
    make_seg(Volume(labels.data, moved), files, "m", "one")
    moved[2, 3] = labels.affine[2, 3] + 0.17
    with pytest.raises(ValueError, match=r"lie 0\.17 mm from those of the label map"):
        make_seg(Volume(labels.data, moved), files, "m", "one")


JAPANESE = ["", "ISO 2022 IR 87"]


@pytest.mark.parametrize(
    ("charset", "name"),
    [(JAPANESE, "Yamada=山田^太郎"), ("ISO_IR 144", "Жук"), ("GB18030", "Wang=王"), (None, "Müller^Jörg")],
)
def test_names_in_any_character_set_are_kept(charset: Any, name: str, made: Made, tmp_path: Path) -> None:
    labels, files, _ = made
    for file in files:
        source = pydicom.dcmread(file)
        source.SpecificCharacterSet, source.PatientName = charset, name
        del source.PatientBirthDate, source.StudyID  # empty in the SEG
        source.save_as(file)
    make_seg(labels, files, "m", "one").save_as(tmp_path / "seg.dcm")
    assert pydicom.dcmread(tmp_path / "seg.dcm").PatientName == name


def test_incomplete_series_are_rejected(made: Made) -> None:
    labels, files, _ = made
    with pytest.raises(ValueError, match="has 6 files, the label map 7 slices"):
        make_seg(labels, files[1:], "m", "one")
    with pytest.raises(ValueError, match="must hold a structure"):
        make_seg(Volume(np.zeros(SHAPE, np.uint8), labels.affine), files, "m", "one")
    for file in files:
        bare = pydicom.dcmread(file)
        del bare.StudyInstanceUID
        bare.save_as(file)
    with pytest.raises(ValueError, match=r"lacks what a DICOM segmentation refers to \('StudyInstanceUID'\)"):
        make_seg(labels, files, "m", "one")
