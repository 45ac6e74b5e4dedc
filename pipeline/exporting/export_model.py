"""A model folder that is enough to segment a new patient: weights, card, recipe, and atlases that find the heart."""

import shutil
from pathlib import Path

from crossmodalnet.cropping.atlas import save_atlases
from crossmodalnet.labels import Modality
from crossmodalnet.networks.common.card import BEST, CARD
from crossmodalnet.prediction.predictor import ATLASES
from crossmodalnet.prediction.recipe import RECIPE, Recipe, recipe_json
from pipeline.cases.split_file import read_split
from pipeline.common.errors import DataError
from pipeline.common.paths import REGISTERED, SPLIT
from pipeline.cropping.heart_box import AtlasFiles, read_atlas
from pipeline.cropping.params import CropParams
from pipeline.evaluation.params import EvaluateParams
from pipeline.exporting.params import ExportParams
from pipeline.models.model_folder import load_model
from pipeline.registration.params import RegisterParams
from pipeline.registration.settings import align_settings
from pipeline.runtime.outputs import whole_folder, write_json


def make_recipe(register: RegisterParams, crop: CropParams, evaluate: EvaluateParams) -> Recipe:
    """Write down how the stages prepare and restore a case."""
    return Recipe(
        align=align_settings(register),
        size=crop.size,
        spacing_mm=crop.spacing_mm,
        margin_mm=crop.margin_mm,
        atlas_spacing_mm=crop.atlas_spacing_mm,
        overlap=evaluate.overlap,
        keep_largest_component=evaluate.keep_largest_component,
    )


def export_model(trained: Path, target: Path, recipe: Recipe, crop: CropParams, export: ExportParams) -> None:
    """Write the folder, whole or not at all.

    Its atlases are those by which stage `crop` finds the hearts of test cases: the first training pairs.

    Args:
        trained: folder of the trained model.
        target: folder to write, replaced if it exists.
        recipe: how scans are prepared.
        crop: section `crop`.
        export: section `export`.

    Raises:
        DataError: the model or a training subject cannot be read.
    """
    load_model(trained)  # what cannot be loaded is not given away
    with whole_folder(target) as new:
        for name in (BEST, CARD):
            shutil.copyfile(trained / name, new / name)
        write_json(new / RECIPE, recipe_json(recipe))
        if export.atlases:
            pairs = sorted(read_split(SPLIT)["train"])[: crop.num_atlases]
            folders = [REGISTERED / pair for pair in pairs]
            try:
                atlases = [
                    read_atlas(
                        AtlasFiles(folder / "ct.nii.gz", folder / "ct_label.nii.gz"), Modality.CT, crop
                    )
                    for folder in folders
                ]
            except ValueError as error:
                raise DataError(f"{error}: run `dvc repro register`") from error
            save_atlases(new / ATLASES, atlases)
