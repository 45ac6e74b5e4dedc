"""Registration, cropping, split and parameters: what the run was made of."""

from typing import Any

from pipeline.comparison.titles import title_of
from pipeline.report.artefacts import Artefacts
from pipeline.report.overlays import thumbnail
from pipeline.report.tables import flatten, frame_table
from pipeline.runtime import paths
from pipeline.runtime.inputs import existing, read_table


def registration_section(artefacts: Artefacts) -> dict[str, Any] | None:
    """Show the quality of every registration; None where cases are single images."""
    if artefacts.single:
        return None
    folder, options = artefacts.top / paths.REGISTRATION_QC, artefacts.options
    table = read_table(folder / "pairs.csv", "register", ("pair", "role"))
    boards = {str(pair): existing(folder / f"checkerboards/{pair}.png", "register") for pair in table["pair"]}
    size = options.checkerboard_px, options.jpeg_quality
    return {
        "table": frame_table(table),
        "checkerboards": {pair: thumbnail(path, *size) for pair, path in boards.items()},
    }


def split_section(artefacts: Artefacts) -> dict[str, Any]:
    """Show the crop of every pair, who trains, validates and tests, and subjects in more than one role."""
    crop = read_table(artefacts.top / paths.CROP_QC, "crop", ("pair",))
    roles = [{name for pair in pairs for name in pair.split("+")} for pairs in artefacts.split.values()]
    shared = [name for name in set().union(*roles) if sum(name in role for role in roles) > 1]
    num_cut = int(crop.filter(like="cut_").to_numpy().sum())
    return {"crop": frame_table(crop), "num_cut": num_cut, "shared_subjects": sorted(shared)}


def parameters_section(artefacts: Artefacts) -> dict[str, Any]:
    """Show params.yaml, the model cards, and versions and machine of the first."""
    first = artefacts.card(artefacts.models[0])
    facts = {key: first[key] for key in ("versions", "machine", "device") if key in first}
    return {
        "versions": [(name.removeprefix("versions."), text) for name, text in flatten(facts)],
        "params": (artefacts.top / paths.PARAMS).read_text("utf-8"),
        "cards": [(name, title_of(name), flatten(artefacts.card(name))) for name in artefacts.models],
    }
