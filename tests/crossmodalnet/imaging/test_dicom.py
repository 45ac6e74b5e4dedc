"""Tags that a DICOM reader could overlook, in classic series and in enhanced multi-frame files."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset

from crossmodalnet.imaging.dicom import read_dicom_series, series_files

WriteSeries = Callable[..., Path]

ENHANCED_CT, RAW_DATA = "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.66"
SLOPES, INTERCEPTS = [1, 2, 0.5], [0, -10, 3]


def edit(folder: Path, **tags: Any) -> Path:
    """Set tags of each slice of a series; a list holds values that take turns, None deletes."""
    for file in folder.iterdir():
        dataset = pydicom.dcmread(file)
        for name, values in tags.items():
            value = values[int(dataset.InstanceNumber) % len(values)] if isinstance(values, list) else values
            dataset.pop(name, None)
            if value is not None:
                setattr(dataset, name, value)
        dataset.save_as(file)
    return folder


def group(dataset: Any, name: str, **tags: Any) -> None:
    """Set a sequence of one item."""
    item = Dataset()
    item.update(tags)
    setattr(dataset, name, pydicom.Sequence([item]))


def enhance(folder: Path, order: Sequence[int], change: Callable[[Any, int], None] | None = None) -> Path:
    """Replace a series by one multi-frame file of its slices in an order; `change(functional group, number)`."""
    files = sorted(folder.iterdir(), key=lambda file: int(pydicom.dcmread(file).InstanceNumber))
    slices = [pydicom.dcmread(file) for file in files]
    whole, shared, items = deepcopy(slices[0]), Dataset(), [Dataset() for _ in order]
    whole.SOPClassUID = whole.file_meta.MediaStorageSOPClassUID = ENHANCED_CT
    group(shared, "PlaneOrientationSequence", ImageOrientationPatient=whole.ImageOrientationPatient)
    group(shared, "PixelMeasuresSequence", PixelSpacing=whole.PixelSpacing)
    del whole.ImagePositionPatient, whole.ImageOrientationPatient, whole.PixelSpacing
    for number, (item, k) in enumerate(zip(items, order, strict=True)):
        group(item, "PlanePositionSequence", ImagePositionPatient=slices[k].ImagePositionPatient)
        if change:
            change(item, number)
    whole.SharedFunctionalGroupsSequence = pydicom.Sequence([shared])
    whole.PerFrameFunctionalGroupsSequence = pydicom.Sequence(items)
    whole.NumberOfFrames = len(order)
    whole.PixelData = b"".join(slices[k].PixelData for k in order)
    for file in files:
        file.unlink()
    whole.save_as(files[0])
    return folder


def voxels(folder: Path, *names: str) -> Any:
    return np.asarray(read_dicom_series(folder, names).image.dataobj)


@pytest.mark.parametrize("order", [range(6), (5, 4, 3, 2, 1, 0), (0, 2, 4, 1, 3, 5), (4, 5, 0, 1, 2, 3)])
def test_frames_lie_at_their_places(order: Sequence[int], series: WriteSeries, image: sitk.Image) -> None:
    classic = read_dicom_series(series())
    found = read_dicom_series(enhance(series(), order))
    assert np.array_equal(np.asarray(found.image.dataobj), sitk.GetArrayFromImage(image).T)
    np.testing.assert_allclose(found.image.affine, classic.image.affine, atol=1e-9)
    assert (found.pixdim_mm.tolist(), found.notes) == ([0.5, 0.75, 2.0], ())


@pytest.mark.parametrize(
    ("order", "tag", "value", "message"),
    [
        ([0, 1, 3], "", 0, r"2\.00 to 4\.00 mm apart: a slice is missing"),
        ([0, 1, 2, 0, 1, 2], "", 0, r"slices or frames: 6, places: 3"),
        ([0, 0, 1, 1], "", 0, r"slices or frames: 4, places: 2"),
        ([0, 1, 2], "PlaneOrientation ImageOrientationPatient", [1, 0, 0, 0, 1, 0], "different orient"),
        ([0, 1, 2], "PixelMeasures PixelSpacing", [0.75, 0.6], r"PixelSpacing 0\.5 to 0\.75"),
        ([0, 1, 2], "PlanePosition ImagePositionPatient", [1, 2], "no valid ImagePosition"),
    ],
)
def test_frames_of_no_volume_are_refused(
    order: list[int], tag: str, value: Any, message: str, series: WriteSeries
) -> None:
    def change(item: Any, number: int) -> None:
        if tag and number == 2:
            group(item, f"{tag.split()[0]}Sequence", **{tag.split()[1]: value})

    with pytest.raises(ValueError, match=message):
        read_dicom_series(enhance(series(), order, change))


@pytest.mark.parametrize("is_enhanced", [False, True])
def test_each_slice_has_its_own_rescale(is_enhanced: bool, series: WriteSeries, image: sitk.Image) -> None:
    def scale(item: Any, number: int) -> None:
        slope, intercept = SLOPES[number % 3], INTERCEPTS[number % 3]
        group(item, "PixelValueTransformationSequence", RescaleSlope=slope, RescaleIntercept=intercept)

    edited = edit(series(), RescaleSlope=SLOPES, RescaleIntercept=INTERCEPTS)
    found = voxels(enhance(series(), range(6), scale) if is_enhanced else edited)
    expected = sitk.GetArrayFromImage(image).T * np.tile(SLOPES, 2) + np.tile(INTERCEPTS, 2)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"PhotometricInterpretation": ["MONOCHROME1", "MONOCHROME2"]}, "has inverted grey values"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "is a colour picture"),
        ({"Modality": "RTDOSE"}, r"is a radiation dose \(Modality RTDOSE\): give the series of the CT or MR"),
        ({"ImageType": "ORIGINAL\\PRIMARY\\M\\MOSAIC"}, "is a mosaic"),
        ({"Modality": "OPT"}, r"is no scan \(Modality OPT\)"),
        ({"ModalityLUTSequence": [[Dataset()]]}, "has a look-up table"),
        ({"BitsStored": 12}, "stores its values in unusual bits"),
        ({"RescaleSlope": [1, 0], "RescaleIntercept": 0}, "has a RescaleSlope of 0"),
        ({"PixelSpacing": [[0.75, 0.5], None]}, "no valid PixelSpacing, and none is assumed"),
        ({"PixelSpacing": [[0.75, 0]]}, "impossible spacings"),
        ({"ImagePositionPatient": None}, "no valid ImagePositionPatient"),
        ({"ImageOrientationPatient": [[1, 0, 0, 1, 0, 0]]}, "no pair of perpendicular"),
    ],
)
def test_tags_of_no_volume_are_refused(tags: dict[str, Any], message: str, series: WriteSeries) -> None:
    with pytest.raises(ValueError, match=message):
        read_dicom_series(edit(series(), **tags))


@pytest.mark.parametrize(
    ("label", "tags"),
    [
        ("acquisition 2", {"AcquisitionNumber": [1, 2]}),
        ("cardiac phase 75.0", {"NominalPercentageOfCardiacPhase": [5.0, 75.0], "TriggerTime": [30, 600]}),
        ("echo time 4.6", {"EchoTime": ["2.3", "4.6"]}),
    ],
)
def test_volumes_that_alternate_can_be_named(
    label: str, tags: dict[str, Any], series: WriteSeries, image: sitk.Image
) -> None:
    folder = edit(series(), **tags)
    with pytest.raises(ValueError, match=rf"mixes several volumes .*; {label} \(3 slices\)"):
        read_dicom_series(folder)
    assert np.array_equal(voxels(folder, "other", label.upper()), sitk.GetArrayFromImage(image)[1::2].T)
    assert len(series_files(folder, [label])) == 3


def test_phases_of_a_multiframe_file_can_be_named(series: WriteSeries, image: sitk.Image) -> None:
    def phase(item: Any, number: int) -> None:
        tags = {"TemporalPositionIndex": number % 2 + 1, "FrameAcquisitionNumber": number + 1}
        group(item, "FrameContentSequence", **tags)

    with pytest.raises(ValueError, match=r"temporal position 1 \(3 slices\); temporal position 2 \(3 "):
        read_dicom_series(enhance(series(), [0, 0, 1, 1, 2, 2], phase))
    folder = enhance(series(), [0, 3, 1, 4, 2, 5], phase)
    assert np.array_equal(voxels(folder, "temporal position 2"), sitk.GetArrayFromImage(image)[3:].T)


@pytest.mark.parametrize("values", [[1, 1, 1, 2, 2, 2], [1, 2, 3, 4, 5, 6], [615, 612, 615, 615, 618, 612]])
def test_slabs_and_slices_of_one_volume_are_read(values: list[int], series: WriteSeries) -> None:
    assert read_dicom_series(edit(series(), AcquisitionNumber=values, TriggerTime=values)).notes == ()


def test_unusual_values_are_noted(series: WriteSeries) -> None:
    folder = edit(series(), RescaleSlope=None, RescaleType="Z_EFF", EchoTime=[1, 1, 1, 2, 2, 2])
    assert [note.split()[0] for note in read_dicom_series(folder).notes] == ["no", "RescaleType", "echo"]


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        *(("BodyPartExamined", text) for text in ("BRAIN", "HEADNECK", "KNEE", "ABDOMEN", "PELVIS", "LSPINE")),
        ("ProtocolName", "t1_upper_arms"), ("SeriesDescription", "Sag T1 brain"), ("AnatomicRegionSequence", "Head"),
    ],
)  # fmt: skip
def test_another_body_part_is_noted(tag: str, text: str, series: WriteSeries) -> None:
    def describe(item: Any, number: int) -> None:
        region = Dataset()
        group(region, tag, CodeMeaning=text)
        group(item, "FrameAnatomySequence", **{tag: region[tag].value})

    is_enhanced = tag == "AnatomicRegionSequence"
    folder = enhance(series(), range(6), describe) if is_enhanced else edit(series(), **{tag: text})
    [note] = read_dicom_series(folder).notes
    assert f"is {text}, no part of the chest" in note


@pytest.mark.parametrize("text", ["CHEST", "CARDIAC 3D", "CHESTABDPELVIS", "", "LEGACY PHARMA"])
def test_chest_and_unknown_body_parts_are_not_noted(text: str, series: WriteSeries) -> None:
    found = read_dicom_series(edit(series(), BodyPartExamined=text, ProtocolName=text, PatientID="7", PatientSex=""))
    assert (found.notes, found.tags["PatientID"], "PatientSex" in found.tags) == ((), "7", False)


def test_alternation_without_a_tag_is_noted(image: sitk.Image, series: WriteSeries) -> None:
    data = np.random.default_rng(0).normal(0, 100, (2, 7, 8)).astype(np.int16)
    other = sitk.GetImageFromArray(np.stack([data[k % 2] + k for k in range(6)]))
    other.CopyInformation(image)
    assert "two acquisitions or phases may alternate" in read_dicom_series(series(other)).notes[-1]


def test_any_of_many_series_can_be_named(image: sitk.Image, series: WriteSeries) -> None:
    for number in range(70):
        folder = series(image[:, :, :1], f"{number}", t0008103e="cine", t00200011=f"{number % 69}")
    assert len(series_files(folder, ["68"])) == 1
    with pytest.raises(ValueError, match=r"1 file, UID 1\.2\.3\.0\).*, 1 file, UID 1\.2\.3\.69\)$"):
        series_files(folder, ["0"])
    with pytest.raises(ValueError, match=r"number 1, 1 file\).*; and 10 more$"):
        series_files(folder)


@pytest.mark.parametrize("length", [0, 300, -20])
def test_damaged_slices_are_refused(length: int, series: WriteSeries) -> None:
    file = max(series().iterdir())
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(ValueError, match=rf"^{file.name} (is damaged \(it ends early\)|ends early, or has no pixels)"):
        read_dicom_series(file.parent)


def test_old_files_are_read_beside_objects_without_pixels(series: WriteSeries, image: sitk.Image) -> None:
    folder = series()
    raw = pydicom.dcmread(next(folder.iterdir()))
    del raw.PixelData, raw.Rows, raw.Columns
    raw.SOPClassUID, raw.SeriesInstanceUID = RAW_DATA, "1.2.3.9"
    for file in folder.iterdir():  # without the preamble of Part 10
        old = Dataset({element.tag: element for element in pydicom.dcmread(file)})
        old.save_as(file, implicit_vr=True, little_endian=True, enforce_file_format=False)
    raw.save_as(folder / "raw.dcm")
    assert np.array_equal(voxels(folder), sitk.GetArrayFromImage(image).T)
