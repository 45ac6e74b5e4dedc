from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from crossmodalnet.errors import DataError
from pipeline.report.artefacts import Artefacts, gather
from pipeline.report.sections.run import parameters_section, registration_section, split_section


def test_cut_voxels_are_added_over_pairs_and_structures(project: Path) -> None:
    path = project / "data/crop_qc.csv"
    crop = pd.read_csv(path)
    crop.loc[0, ["cut_LV", "cut_PA"]] = [3, 4]
    crop.loc[1, "cut_PA"] = 5
    crop.to_csv(path, index=False)
    assert split_section(gather(project))["num_cut"] == 12


def test_subject_in_two_roles_is_listed(artefacts: Artefacts) -> None:
    assert split_section(artefacts)["shared_subjects"] == []
    split = {**artefacts.split, "train": ["ct_1001+mr_1099"]}
    assert split_section(replace(artefacts, split=split))["shared_subjects"] == ["ct_1001"]


def test_every_pair_has_its_checkerboard(artefacts: Artefacts) -> None:
    content = registration_section(artefacts)
    assert content is not None
    source, width, height = content["checkerboards"]["ct_1001+mr_1004"]
    assert source.startswith("data:image/jpeg;base64,")
    assert (width, height) == (440, 147)  # of 720 x 240
    assert len(content["checkerboards"]) == len(content["table"].rows) == 8


@pytest.mark.parametrize("name", ["pairs.csv", "checkerboards/ct_1001+mr_1004.png"])
def test_missing_quality_control_is_reported_with_its_stage(project: Path, name: str) -> None:
    (project / "data/registration_qc" / name).unlink()
    with pytest.raises(DataError, match="not found: run `dvc repro register`"):
        registration_section(gather(project))


def test_versions_are_those_of_the_first_card(artefacts: Artefacts) -> None:
    card = {"versions": {"torch": "2.1"}, "device": "cpu", "epochs": 3}
    cards = {**artefacts.cards, ("crossmodalnet", 0): card}
    content = parameters_section(replace(artefacts, cards=cards))
    assert content["versions"] == [("torch", "2.1"), ("device", "cpu")]
    entries = [("versions.torch", "2.1"), ("device", "cpu"), ("epochs", "3")]
    assert content["cards"][0] == ("crossmodalnet", "CrossModalNet", entries)
    assert content["params"].startswith("models: [crossmodalnet, mednext]")
