"""Make a DICOM segmentation object (SEG) that refers to its source series."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import numpy as np
from PIL import ImageColor

import crossmodalnet
from crossmodalnet.imaging.structures import STRUCTURES
from crossmodalnet.imaging.volume import RAS_TO_LPS, Volume

# SNOMED CT codes of DICOM's context groups 7150 (category) and 3010, 4042 and others (structures). The myocardium
# has SNOMED's own code, with the left ventricle as anatomic region.
SCT = "SCT"
ANATOMICAL_STRUCTURE = ("91723000", SCT, "Anatomical Structure")
LEFT_VENTRICLE = ("87878005", SCT, "Left ventricle")
CODES: dict[str, tuple[str, str, str]] = {
    "LV": LEFT_VENTRICLE,
    "RV": ("53085002", SCT, "Right ventricle"),
    "LA": ("82471001", SCT, "Left atrium"),
    "RA": ("73829009", SCT, "Right atrium"),
    "Myo": ("74281007", SCT, "Myocardium"),
    "AO": ("54247002", SCT, "Ascending aorta"),
    "PA": ("81040000", SCT, "Pulmonary artery"),
}
UTF_8 = "ISO_IR 192"
# Required, but may be empty.
PATIENT_AND_STUDY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex",
    "AccessionNumber", "StudyID", "StudyDate", "StudyTime",
)  # fmt: skip
ARTIFICIAL_INTELLIGENCE = ("123109", "DCM", "Artificial Intelligence")


def make_seg(labels: Volume, files: Sequence[Path], model: str, identity: str) -> Any:
    """Make a SEG (pydicom dataset) with a binary segment per existing structure, in order of class index.

    Args:
        labels: class indices on the grid of the series (columns, rows, slices), as the DICOM reader returns it.
        files: files of the series in slice order.
        identity: equal identities give equal UIDs.

    Raises:
        ValueError: no structure, a series that lacks required attributes, or slices that differ from those of the
            labels.
    """
    import highdicom
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # text against the standard
            sources = [pydicom.dcmread(file, stop_before_pixels=True) for file in files]
            for source in sources:  # highdicom knows few combinations of character sets; UTF-8 holds all text
                source.decode()
                source.SpecificCharacterSet = UTF_8
                for name in PATIENT_AND_STUDY:
                    source.setdefault(name, "")
        _check_places(labels, sources)
    except (InvalidDicomError, AttributeError, TypeError) as error:
        raise ValueError(f"the series lacks what a DICOM segmentation refers to ({error})") from error
    present = [structure for structure in STRUCTURES if (labels.data == structure.index).any()]
    if not present:
        raise ValueError("a DICOM segmentation must hold a structure, got none")
    numbers = np.zeros(len(STRUCTURES) + 1, np.uint8)
    for number, structure in enumerate(present, 1):
        numbers[structure.index] = number
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=f"CrossModalNet {model}"[:64], family=_code(ARTIFICIAL_INTELLIGENCE), version=crossmodalnet.__version__
    )
    segments = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=structure.name,
            segmented_property_category=_code(ANATOMICAL_STRUCTURE),
            segmented_property_type=_code(CODES[structure.abbreviation]),
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
            anatomic_regions=[_code(LEFT_VENTRICLE)] if structure.abbreviation == "Myo" else None,
            display_color=highdicom.color.CIELabColor.from_rgb(*ImageColor.getrgb(structure.colour)[:3]),
        )
        for number, structure in enumerate(present, 1)
    ]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the patient's name of one part only, and the like
            return highdicom.seg.Segmentation(
                source_images=sources,
                pixel_array=numbers[labels.data].transpose(2, 1, 0),  # slices, rows, columns
                segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
                segment_descriptions=segments,
                series_instance_uid=_uid(f"series {identity}"),
                series_number=1000,
                sop_instance_uid=_uid(f"instance {identity}"),
                instance_number=1,
                manufacturer="CrossModalNet, research software",
                manufacturer_model_name=model[:64],
                software_versions=crossmodalnet.__version__,
                device_serial_number="0",
                content_label="WHOLE_HEART",
                content_description="Whole heart, not for diagnosis or treatment",
                series_description="Whole-heart segmentation (research)",
            )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        what = str(error).rpartition("has no attribute ")[2]
        raise ValueError(f"the series lacks what a DICOM segmentation refers to ({what})") from error


def _check_places(labels: Volume, sources: Sequence[Any]) -> None:
    """Reject a series whose slice positions differ from those of the label map."""
    if len(sources) != labels.data.shape[2]:
        raise ValueError(f"the series has {len(sources)} files, the label map {labels.data.shape[2]} slices")
    corners = np.array([[0, 0, k] for k in range(len(sources))], np.float64).T
    places = labels.grid.to_world(corners).T * RAS_TO_LPS.diagonal()[:3]
    theirs = np.array([[float(v) for v in source.ImagePositionPatient] for source in sources])
    if (apart := float(np.linalg.norm(places - theirs, axis=1).max())) > labels.grid.tolerance_mm:
        raise ValueError(f"the slices of the series lie {apart:.2f} mm from those of the label map")


def _code(parts: tuple[str, str, str]) -> Any:
    import highdicom

    value, scheme, meaning = parts
    return highdicom.sr.CodedConcept(value=value, scheme_designator=scheme, meaning=meaning)


def _uid(text: str) -> str:
    """Derive a UID from a text (DICOM PS3.5 B.2: 2.25. and the number of a UUID)."""
    return f"2.25.{uuid5(NAMESPACE_OID, f'crossmodalnet {text}').int}"
