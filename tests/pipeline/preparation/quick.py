"""Sections of params.yaml that register and crop a cohort in a moment."""

from collections.abc import Callable

from crossmodalnet.registration.config import RegistrationConfig
from pipeline.cohort.pairs import Subject
from pipeline.config.sections import CropConfig, SplitConfig
from pipeline.preparation.target import Sections

SECTIONS = Sections(
    RegistrationConfig(
working_spacing_mm=10.0, iterations=[5], min_gain=-1.0    ),
    SplitConfig(),
    CropConfig(spacing_mm=9.0, size=(16, 16, 16), num_atlases=1, atlas_spacing_mm=10.0),
)  # fmt: skip

WriteCohort = Callable[..., list[Subject]]
