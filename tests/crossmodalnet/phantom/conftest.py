"""Three subjects of each modality, scanned by the reference scanner and by the other one."""

import numpy as np
import pytest
from scipy import ndimage

from crossmodalnet.imaging.structures import STRUCTURES, Modality
from crossmodalnet.phantom.generate import make_subject

SPACING_MM = {Modality.CT: 4.0, Modality.MR: 3.5}
INDEX = {structure.abbreviation: structure.index for structure in STRUCTURES}


def scan_by(scanner):
    numbers = (1001, 1002, 1003)
    return {m: [make_subject(m, SPACING_MM[m], 0, number, scanner) for number in numbers] for m in Modality}


@pytest.fixture(scope="session")
def subjects():
    return scan_by("reference")


@pytest.fixture(scope="session")
def others():
    return scan_by("other")


def inside(subject, abbreviation):
    """Intensities of a structure, away from its boundary."""
    image, label = subject
    return image.data[ndimage.binary_erosion(label.data == INDEX[abbreviation])]


def level(subject, abbreviation):
    return np.median(inside(subject, abbreviation))


def volumes_ml(subject):
    label = subject[1]
    return np.bincount(label.data.ravel(), minlength=8)[1:] * np.prod(label.spacing_mm) / 1000
