"""Registration, cropping and split: quality control of what the networks were trained and tested on."""

from typing import Any

import pandas as pd

from pipeline.report.artefacts import Artefacts
from pipeline.report.overlays import thumbnail
from pipeline.report.tables import frame_table
from pipeline.runtime import paths
from pipeline.runtime.inputs import existing, read_table


def registration_section(artefacts: Artefacts) -> dict[str, Any] | None:
    """Show the quality of every registration; None where cases are single images."""
    if artefacts.single:
        return None
    folder, options = artefacts.top / paths.REGISTRATION_QC, artefacts.options
    table = read_table(folder / "pairs.csv", "register", ("pair", "role"))
    pictures = {str(p): existing(folder / f"checkerboards/{p}.png", "register") for p in table["pair"]}
    return {
        "table": frame_table(table),
        "checkerboards": {
            pair: thumbnail(path, options.checkerboard_px, options.jpeg_quality)
            for pair, path in pictures.items()
        },
    }


def split_section(artefacts: Artefacts) -> dict[str, Any]:
    """Show the crop of every pair, and who trains, validates and tests."""
    crop = read_table(artefacts.top / paths.CROP_QC, "crop", ("pair",))
    return {
        "crop": frame_table(crop),
        "num_cut": total_cut_voxels(crop),
        "shared_subjects": _shared_subjects(artefacts),
    }


def total_cut_voxels(crop: pd.DataFrame) -> int:
    """Count the labelled voxels that cropping cut off, over all pairs and structures."""
    cut = crop.filter(regex="cut").select_dtypes("integer")
    return int(cut.loc[:, ~cut.columns.str.contains("total")].to_numpy().sum())


def _shared_subjects(artefacts: Artefacts) -> list[str]:
    """List subjects of either modality that are in more than one role; there should be none."""
    roles = [{name for pair in pairs for name in pair.split("+")} for pairs in artefacts.split.values()]
    return sorted(name for name in set().union(*roles) if sum(name in role for role in roles) > 1)
