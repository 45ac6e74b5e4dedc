import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.structures import Modality
from pipeline.cohort.pairs import Pair, Role, Subject
from pipeline.cohort.split_file import SplitNotes, read_atlas_pairs, read_notes, read_split, write_split
from pipeline.config.sections import SplitConfig


def _pair(number: int, role: Role) -> Pair:
    ct, mr = (Subject(f"{m.value}_{number}", m, Path("i"), Path("l")) for m in Modality)
    return Pair(ct, mr, role)


def test_split_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    pairs = [_pair(1, "train"), _pair(2, "test"), _pair(3, "validation"), _pair(4, "train")]
    write_split(path, pairs, SplitConfig(folds=3, fold=1))
    content = json.loads(path.read_text("utf-8"))
    assert list(content) == ["train", "validation", "test", "folds", "fold"]
    assert content["test"] == [{"pair": "ct_2+mr_2", "ct": "ct_2", "mr": "mr_2"}]
    assert (content["folds"], content["fold"]) == (3, 1)
    train, validation, test = ["ct_1+mr_1", "ct_4+mr_4"], ["ct_3+mr_3"], ["ct_2+mr_2"]
    assert read_split(path) == {"train": train, "validation": validation, "test": test}
    assert read_notes(path) == SplitNotes()


def test_missing_structures_and_pairs_of_one_patient_are_noted(tmp_path: Path) -> None:
    path, pairs = tmp_path / "split.json", [_pair(1, "train"), _pair(2, "test"), _pair(3, "validation")]
    for index, (ct, mr) in enumerate((pair.ct, pair.mr) for pair in pairs[:2]):
        one_patient = replace(ct, patient="P", missing=("PA", "AO")), replace(mr, patient="P")
        pairs[index] = Pair(*one_patient, pairs[index].role)
    write_split(path, pairs, SplitConfig())
    assert json.loads(path.read_text("utf-8"))["test"][0]["patient"] == "P"
    assert read_notes(path) == SplitNotes(("AO", "PA"), 2)


@pytest.mark.parametrize("read", [read_split, read_notes, read_atlas_pairs])
@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"train": [1], "validation": [], "test": []}'])
def test_invalid_split_names_the_stage(read: Callable[[Path], object], content: str, tmp_path: Path) -> None:
    if content:
        (tmp_path / "split.json").write_text(content)
    with pytest.raises(DataError, match="dvc repro split"):
        read(tmp_path / "split.json")
