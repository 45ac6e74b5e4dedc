"""What a scenario hands over once its images are written."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.config.crop import CropParams
from pipeline.config.register import RegisterParams
from pipeline.config.runtime import RuntimeParams
from pipeline.config.split import SplitParams
from pipeline.preparation.domain import Domain
from pipeline.runtime.run_cases import ALL_CORES


@dataclass(frozen=True)
class Sections:
    """The sections of params.yaml by which a domain is prepared."""

    register: RegisterParams
    split: SplitParams
    crop: CropParams
    runtime: RuntimeParams = ALL_CORES


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
