"""Export a self-contained model folder: weights, card, preparation and atlases."""

import shutil
from pathlib import Path

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.inference.model_folder import ATLASES, RECIPE, InferenceConfig
from crossmodalnet.inference.predictor import Predictor
from crossmodalnet.inference.quality_flags import training_likeness
from crossmodalnet.io.outputs import whole_folder, write_json
from crossmodalnet.networks.common.card import BEST, CARD
from crossmodalnet.processes import run_alone
from crossmodalnet.registration.config import RegistrationConfig
from crossmodalnet.roi.atlas import Atlas, save_atlases
from crossmodalnet.roi.box import likeness_among
from pipeline.cohort.split_file import read_atlas_pairs, read_split
from pipeline.config.sections import CropConfig, EvaluateConfig, ExportConfig
from pipeline.preparation.cases import PAIRS
from pipeline.preparation.cropping import ENVIRONMENT, read_atlas, registered_atlas
from pipeline.runtime.paths import REGISTERED, SPLIT
from pipeline.training.checkpoint import load_model


def export_model(
    trained: Path,
    target: Path,
    register: RegistrationConfig,
    crop: CropConfig,
    evaluate: EvaluateConfig,
    export: ExportConfig,
) -> None:
    """Write the model folder atomically, replacing `target`; atlases are the first training pairs."""
    card = load_model(trained).card  # raises for a damaged model
    atlases = _read_atlases(crop) if export.atlases else []
    likeness = run_alone(likeness_among, atlases, environment=ENVIRONMENT) if len(atlases) > 1 else None
    cases = (PAIRS.read_unlabelled(pair) for pair in read_split(SPLIT)["train"])
    pairs = ((case.ct, case.mr) for case in cases if case.ct and case.mr)
    config = InferenceConfig(
        registration=register.model_copy(update={"transform": export.transform or register.transform}),
        size=crop.size,
        spacing_mm=crop.spacing_mm,
        margin_mm=crop.margin_mm,
        atlas_spacing_mm=crop.atlas_spacing_mm,
        heart_likeness=likeness,
        mr_likeness=training_likeness(pairs, card.intensity),
        overlap=evaluate.overlap,
        keep_largest_component=evaluate.keep_largest_component,
    )
    with whole_folder(target) as new:
        for name in (BEST, CARD):
            shutil.copyfile(trained / name, new / name)
        write_json(new / RECIPE, config.model_dump(mode="json"))
        if atlases:
            save_atlases(new / ATLASES, atlases)
        Predictor.load(new)  # raises if `predict` could not


def _read_atlases(crop: CropConfig) -> list[Atlas]:
    pairs = read_atlas_pairs(SPLIT)[: crop.num_atlases]
    try:
        return [read_atlas(registered_atlas(REGISTERED / pair), Modality.CT, crop.atlas_spacing_mm) for pair in pairs]
    except ValueError as error:
        raise DataError(f"{error}: run `dvc repro register`") from error
