"""Whole-heart segmentation from a patient's CT and MRI together.

The front door: what a user of the library needs, from images to scores. A name is imported when it is first used, so
that `import crossmodalnet` itself is free.

>>> import crossmodalnet
>>> [structure.abbreviation for structure in crossmodalnet.STRUCTURES]
['LV', 'RV', 'LA', 'RA', 'Myo', 'AO', 'PA']
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossmodalnet.imaging.intensity import Intensity, stack_input
    from crossmodalnet.imaging.nifti import read_image, read_label_map, write_image, write_label_map
    from crossmodalnet.imaging.resample import resample
    from crossmodalnet.imaging.structures import STRUCTURES, Modality
    from crossmodalnet.imaging.volume import Grid, Volume
    from crossmodalnet.inference.predictor import Predictor
    from crossmodalnet.metrics.overlap import dice
    from crossmodalnet.metrics.scores import score_label_map
    from crossmodalnet.networks.common.build import build_network
    from crossmodalnet.networks.common.parameters import parameter_groups
    from crossmodalnet.networks.common.sliding_window import predict_probabilities
    from crossmodalnet.networks.crossmodalnet.config import CrossModalNetConfig
    from crossmodalnet.phantom.generate import make_subject
    from crossmodalnet.roi.box import box_of, working_grid
    from crossmodalnet.roi.restore import restore_labels
    from crossmodalnet.training.adaptation.config import AdaptationConfig
    from crossmodalnet.training.balancing import AdaptiveBalancer
    from crossmodalnet.training.config import AugmentationConfig
    from crossmodalnet.training.objectives import evaluate_objectives

__version__ = "0.1.0"
__all__ = [
    "STRUCTURES",
    "AdaptationConfig",
    "AdaptiveBalancer",
    "AugmentationConfig",
    "CrossModalNetConfig",
    "Grid",
    "Intensity",
    "Modality",
    "Predictor",
    "Volume",
    "box_of",
    "build_network",
    "dice",
    "evaluate_objectives",
    "make_subject",
    "parameter_groups",
    "predict_probabilities",
    "read_image",
    "read_label_map",
    "resample",
    "restore_labels",
    "score_label_map",
    "stack_input",
    "working_grid",
    "write_image",
    "write_label_map",
]

# The same modules as above, which only a type checker reads.
_PLACES = {
    "training.adaptation.config": ("AdaptationConfig",),
    "roi.heart_box": ("box_of", "working_grid"),
    "training.config": ("AugmentationConfig",),
    "imaging.intensity": ("Intensity", "stack_input"),
    "imaging.nifti": ("read_image", "read_label_map", "write_image", "write_label_map"),
    "imaging.resample": ("resample",),
    "imaging.volume": ("Grid", "Volume"),
    "imaging.structures": ("STRUCTURES", "Modality"),
    "training.balancing": ("AdaptiveBalancer",),
    "training.objectives": ("evaluate_objectives",),
    "metrics.overlap": ("dice",),
    "networks.common.build": ("build_network",),
    "networks.common.parameters": ("parameter_groups",),
    "networks.common.sliding_window": ("predict_probabilities",),
    "networks.crossmodalnet.config": ("CrossModalNetConfig",),
    "phantom.generate": ("make_subject",),
    "inference.predictor": ("Predictor",),
    "roi.restore": ("restore_labels",),
    "metrics.scores": ("score_label_map",),
}
_MODULES = {name: f"{__name__}.{place}" for place, names in _PLACES.items() for name in names}


# A type checker that saw this would take any name for a public one.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import a public name when it is first asked for (PEP 562)."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_MODULES[name]), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
