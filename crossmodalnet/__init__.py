"""Whole-heart segmentation from a patient's CT and MRI together.

These names are what a user of the library needs, from images to scores. Each is imported on its first use, so that
`import crossmodalnet` takes no time.

>>> import crossmodalnet
>>> [structure.abbreviation for structure in crossmodalnet.STRUCTURES]
['LV', 'RV', 'LA', 'RA', 'Myo', 'AO', 'PA']
"""

import ast
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossmodalnet.imaging.intensity import Intensity, stack_input
    from crossmodalnet.imaging.nifti import read_image, read_label_map, write_image, write_label_map
    from crossmodalnet.imaging.resample import resample
    from crossmodalnet.imaging.samples import LabelledCase
    from crossmodalnet.imaging.structures import STRUCTURES, Modality
    from crossmodalnet.imaging.volume import Grid, Volume
    from crossmodalnet.inference.predictor import Predictor
    from crossmodalnet.inference.scans import read_volume
    from crossmodalnet.metrics.overlap import dice
    from crossmodalnet.metrics.scores import score_label_map
    from crossmodalnet.networks.common.build import build_network
    from crossmodalnet.networks.common.parameters import parameter_groups
    from crossmodalnet.networks.common.sliding_window import predict_probabilities
    from crossmodalnet.networks.crossmodalnet.config import CrossModalNetConfig
    from crossmodalnet.phantom.generate import make_subject
    from crossmodalnet.registration import make_registration
    from crossmodalnet.registration.config import RegistrationConfig
    from crossmodalnet.roi.box import Box, box_of, working_grid
    from crossmodalnet.roi.restore import restore_labels
    from crossmodalnet.training.adaptation.config import AdaptationConfig
    from crossmodalnet.training.balancing import AdaptiveBalancer
    from crossmodalnet.training.config import AugmentationConfig
    from crossmodalnet.training.dataset import TrainingSet
    from crossmodalnet.training.objectives import evaluate_objectives

__version__ = "0.1.0"
__all__ = [
    "STRUCTURES",
    "AdaptationConfig",
    "AdaptiveBalancer",
    "AugmentationConfig",
    "Box",
    "CrossModalNetConfig",
    "Grid",
    "Intensity",
    "LabelledCase",
    "Modality",
    "Predictor",
    "RegistrationConfig",
    "TrainingSet",
    "Volume",
    "box_of",
    "build_network",
    "dice",
    "evaluate_objectives",
    "make_registration",
    "make_subject",
    "parameter_groups",
    "predict_probabilities",
    "read_image",
    "read_label_map",
    "read_volume",
    "resample",
    "restore_labels",
    "score_label_map",
    "stack_input",
    "working_grid",
    "write_image",
    "write_label_map",
]


@cache
def _modules() -> dict[str, str]:
    """Map each public name to its module, by the imports above, which do not run."""
    tree = ast.parse(Path(__file__).read_text("utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {
        alias.name: node.module
        for node in imports
        if node.module and node.module.startswith(f"{__name__}.")
        for alias in node.names
    }


# A type checker that sees this takes any name for a public one.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import a public name on its first use (PEP 562)."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_modules()[name]), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
