"""A model folder that is enough to segment a new patient: weights, card, recipe, and atlases that find the heart."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from crossmodalnet.imaging.structures import Modality
from crossmodalnet.inference.packed import ATLASES
from crossmodalnet.inference.predictor import Predictor
from crossmodalnet.inference.recipe import RECIPE, Recipe, recipe_json
from crossmodalnet.networks.common.card import BEST, CARD
from crossmodalnet.processes import run_alone
from crossmodalnet.roi.atlas import Atlas, save_atlases
from crossmodalnet.roi.box import likeness_among
from pipeline.cohort.split_file import read_atlas_pairs
from pipeline.config.register import RegistrationConfig
from pipeline.config.registration_settings import align_settings
from pipeline.config.sections import CropConfig, EvaluateConfig, ExportConfig
from pipeline.preparation.cropping import ENVIRONMENT, AtlasFiles, read_atlas
from pipeline.runtime.errors import DataError
from pipeline.runtime.files import whole_folder, write_json
from pipeline.runtime.paths import REGISTERED, SPLIT
from pipeline.training.checkpoint import load_model


@dataclass(frozen=True)
class Preparation:
    """The sections by which the stages prepare and restore a case."""

    register: RegistrationConfig
    crop: CropConfig
    evaluate: EvaluateConfig


def make_recipe(params: Preparation, atlas_likeness: float | None) -> Recipe:
    """Write down how the stages prepare and restore a case.

    Args:
        params: sections of the parameters.
        atlas_likeness: mutual information that the atlases have with one another at least, nats.
    """
    return Recipe(
        align=align_settings(params.register),
        size=params.crop.size,
        spacing_mm=params.crop.spacing_mm,
        margin_mm=params.crop.margin_mm,
        atlas_spacing_mm=params.crop.atlas_spacing_mm,
        atlas_likeness=atlas_likeness,
        overlap=params.evaluate.overlap,
        keep_largest_component=params.evaluate.keep_largest_component,
    )


def export_model(trained: Path, target: Path, params: Preparation, export: ExportConfig) -> None:
    """Write the folder, whole or not at all.

    Its atlases are those by which stage `crop` finds the hearts of test cases: the first training pairs.

    Args:
        trained: folder of the trained model.
        target: folder to write, replaced if it exists.
        params: sections by which cases are prepared.
        export: section `export`.

    Raises:
        DataError: the model or a training subject cannot be read.
    """
    load_model(trained)  # what cannot be loaded is not given away
    atlases = _read_atlases(params.crop) if export.atlases else []
    likeness = run_alone(likeness_among, atlases, environment=ENVIRONMENT) if len(atlases) > 1 else None
    with whole_folder(target) as new:
        for name in (BEST, CARD):
            shutil.copyfile(trained / name, new / name)
        write_json(new / RECIPE, recipe_json(make_recipe(params, likeness)))
        if atlases:
            save_atlases(new / ATLASES, atlases)
        Predictor.load(new)  # as `predict` will


def _read_atlases(crop: CropConfig) -> list[Atlas]:
    folders = [REGISTERED / pair for pair in read_atlas_pairs(SPLIT)[: crop.num_atlases]]
    files = [AtlasFiles(folder / "ct.nii.gz", folder / "ct_label.nii.gz") for folder in folders]
    try:
        return [read_atlas(subject, Modality.CT, crop.atlas_spacing_mm) for subject in files]
    except ValueError as error:
        raise DataError(f"{error}: run `dvc repro register`") from error
