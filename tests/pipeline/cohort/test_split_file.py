import json
from dataclasses import replace
from pathlib import Path

import pytest

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.structures import Modality
from pipeline.cohort.pairs import Pair, Role, Subject
from pipeline.cohort.split_file import SplitNotes, read_notes, read_split, write_split
from pipeline.config.sections import SplitConfig


def _pair(number: int, role: Role) -> Pair:
    ct, mr = (Subject(f"{m.value}_{number}", m, Path("i"), Path("l")) for m in Modality)
    return Pair(ct, mr, role)


def test_the_split_is_written_by_role_and_read_back(tmp_path: Path) -> None:
    pairs = [_pair(1, "train"), _pair(2, "test"), _pair(3, "validation"), _pair(4, "train")]
    write_split(tmp_path / "split.json", pairs, SplitConfig(folds=3, fold=1))
    content = json.loads((tmp_path / "split.json").read_text("utf-8"))
    assert content["test"] == [{"pair": "ct_2+mr_2", "ct": "ct_2", "mr": "mr_2"}]
    assert (content["folds"], content["fold"]) == (3, 1)
    assert read_split(tmp_path / "split.json") == {
        "train": ["ct_1+mr_1", "ct_4+mr_4"], "validation": ["ct_3+mr_3"], "test": ["ct_2+mr_2"],
    }  # fmt: skip


@pytest.mark.parametrize(
    "content", [None, "{", "[]", '{"train": []}', '{"train": [1], "validation": [], "test": []}']
)
def test_what_is_no_split_names_the_stage(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "split.json").write_text(content)
    with pytest.raises(DataError, match="dvc repro split"):
        read_split(tmp_path / "split.json")


def test_what_should_be_known_of_pairs_is_noted_only_where_there_is_something(tmp_path: Path) -> None:
    path, pairs = tmp_path / "split.json", [_pair(1, "train"), _pair(2, "test"), _pair(3, "validation")]
    write_split(path, pairs, SplitConfig())
    assert list(json.loads(path.read_text("utf-8"))) == ["train", "validation", "test", "folds", "fold"]
    assert read_notes(path) == SplitNotes()
    same = [
        Pair(replace(p.ct, patient="P", missing=("PA", "AO")), replace(p.mr, patient="P"), p.role)
        for p in pairs
    ]
    write_split(path, [*same[:2], pairs[2]], SplitConfig())
    assert json.loads(path.read_text("utf-8"))["test"][0]["patient"] == "P"
    assert read_notes(path) == SplitNotes(("AO", "PA"), 2)


def test_notes_of_what_is_no_split_name_the_stage(tmp_path: Path) -> None:
    for content in ("{", "[]", "{}"):
        (tmp_path / "split.json").write_text(content)
        with pytest.raises(DataError, match="dvc repro split"):
            read_notes(tmp_path / "split.json")
