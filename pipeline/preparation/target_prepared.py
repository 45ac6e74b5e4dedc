"""What a scenario hands over once its images are written."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.config.register import RegistrationConfig
from pipeline.config.sections import CropConfig, SplitConfig
from pipeline.preparation.domain import Domain
from pipeline.runtime.workers import ALL_CORES, RuntimeConfig


@dataclass(frozen=True)
class Sections:
    """The sections of params.yaml by which a domain is prepared."""

    register: RegistrationConfig
    split: SplitConfig
    crop: CropConfig
    runtime: RuntimeConfig = ALL_CORES


@dataclass(frozen=True)
class PreparedDomain:
    """A domain whose images are written.

    Attributes:
        domain: record of the domain.
        labels: native label map of each target case that has one, by case name; only `write_target_labels` reads
            them.
    """

    domain: Domain
    labels: dict[str, Path]
