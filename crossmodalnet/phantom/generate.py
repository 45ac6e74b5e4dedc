"""Generate the CT or MR of one person of the phantom, with its label map."""

import numpy as np

from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.phantom import Scanner
from crossmodalnet.phantom.appearance import image_ct, image_mr
from crossmodalnet.phantom.scanner import CT_PROTOCOLS, INSIDES, MR_PROTOCOLS, draw_scan
from crossmodalnet.phantom.shape import draw_shape, moved, varied


def make_subject(
    modality: Modality,
    spacing_mm: float,
    seed: int,
    number: int,
    scanner: Scanner = "reference",
    *,
    same_patient: bool = False,
) -> tuple[Volume, Volume]:
    """Generate one person and scan them once.

    Args:
        spacing_mm: in-plane, between 0.3 and 10.
        scanner: scanner and protocol; `reference` and `other` see the same people, all others those of `INSIDES`.
        same_patient: use the same person for CT and MR (the one of the CT), in the MR moved as its protocol says.

    Returns:
        Image (float32; CT in HU, MR in arbitrary units) and label map (class indices), on the same grid.

    Raises:
        ValueError: `spacing_mm` is out of range.

    >>> ct, labels = make_subject(Modality.CT, spacing_mm=6.0, seed=0, number=1)
    >>> ct.data.shape == labels.data.shape, np.unique(labels.data).tolist()
    (True, [0, 1, 2, 3, 4, 5, 6, 7])
    """
    if not 0.3 <= spacing_mm <= 10:
        raise ValueError(f"spacing_mm must be between 0.3 and 10, got {spacing_mm}")
    stream = list(Modality).index(modality)
    streams = (0 if same_patient else stream, stream, stream)
    person, geometry, looks = (np.random.default_rng([seed, of, number, part]) for part, of in enumerate(streams))
    shape = draw_shape(person)
    if inside := INSIDES.get(scanner):
        shape = varied(shape, inside, person)
    if same_patient and modality is Modality.MR and (motion := MR_PROTOCOLS[scanner].motion):
        shape = moved(shape, motion, np.random.default_rng([seed, stream, number, len(streams)]))
    scan = draw_scan(geometry, modality, spacing_mm, scanner)
    if modality is Modality.CT:
        image, labels = image_ct(looks, shape, scan, CT_PROTOCOLS[scanner])
    else:
        image, labels = image_mr(looks, shape, scan, MR_PROTOCOLS[scanner])
    affine = scan.grid.affine
    return Volume(image.astype(np.float32), affine), Volume(labels, affine)
