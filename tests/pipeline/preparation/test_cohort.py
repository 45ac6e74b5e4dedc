"""Scenario `cohort`: pairing, and that no target label reaches anything but the pairing."""

import re
import zipfile
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossmodalnet.errors import CrossModalNetError, DataError
from crossmodalnet.imaging.nifti import read_label_map, write_label_map
from crossmodalnet.imaging.volume import Volume
from pipeline.cohort.pairs import Pair, Subject
from pipeline.config.sections import TargetConfig
from pipeline.preparation.target import _register_and_crop, pair_target, prepare_cohort
from tests.pipeline.preparation.quick import SECTIONS, WriteCohort


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def _without_labels(pair: Pair) -> Pair:
    return Pair(replace(pair.ct, label=None), replace(pair.mr, label=None), pair.role)


def test_labelled_subjects_have_roles_and_others_train(write_cohort: WriteCohort, tmp_path: Path) -> None:
    subjects = write_cohort(tmp_path)
    assert {pair.role for pair in pair_target(subjects, SECTIONS.split)} == {"train", "validation", "test"}
    few = [replace(s, label=None) if int(s.name[-1]) > 2 else s for s in subjects]
    pairs = pair_target(few, SECTIONS.split)
    assert {pair.role for pair in pairs} == {"train"}
    assert len(pairs) == 4


@pytest.mark.stress
def test_no_byte_of_the_cases_depends_on_a_label(
    project: Path, write_cohort: WriteCohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = pair_target(write_cohort(tmp_path / "other", extra_mm=9.0), SECTIONS.split)[:1]
    source = pair_target(_source(project, write_cohort), SECTIONS.split)
    found = []
    for number, change in enumerate((None, _roll, _remove)):
        if change:
            for pair in pairs:
                change(pair)
        given = [_without_labels(pair) for pair in pairs] if change is _remove else pairs
        monkeypatch.setenv("DVC_ROOT", str(tmp_path / f"work{number}"))  # so that nothing is reused
        _register_and_crop(given, source, SECTIONS, tmp_path / f"cases{number}")
        found.append(_bytes(tmp_path / f"cases{number}"))
    assert set(found[0]) == {
        f"{p.name}/{name}" for p in pairs for name in ("ct.nii.gz", "mr.nii.gz", "crop.json")
    }
    assert found[0] == found[1] == found[2]


@pytest.mark.stress
def test_the_unlabelled_subjects_of_the_cohort_train(project: Path, tmp_path: Path) -> None:
    manifest = project / "data/raw/manifest.csv"
    bare = [
        line.rsplit(",", 1)[0] + ","
        for line in manifest.read_text("utf-8").splitlines()[1:]
        if "1001" in line
    ]
    extra = [line.replace("_1001,", "_2001,") for line in bare]
    manifest.write_text(manifest.read_text("utf-8") + "\n".join(extra) + "\n")
    domain, labels = prepare_cohort(
        TargetConfig(source="unlabelled"), SECTIONS, tmp_path / "out", tmp_path / "scratch"
    )
    assert domain.target == {"train": ["ct_2001+mr_2001"], "validation": [], "test": []}
    assert labels == {}
    assert not (tmp_path / "scratch").exists()


def test_a_cohort_without_unlabelled_subjects_says_what_to_do(project: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"0 CT and 0 MR subjects(.|\n)*adapt\.target\.source"):
        prepare_cohort(TargetConfig(source="unlabelled"), SECTIONS, tmp_path, tmp_path / "scratch")


TOO_LARGE = "large.zip"
# What the section says, and how the message names its keys.
WRONG_PLACES: dict[str, tuple[dict[str, Any], str]] = {
    "no path": ({"path": "/no/such"}, r"adapt\.target\.path = /no/such does not exist"),
    "an output": ({"path": "data/raw"}, r"adapt\.target\.path = .* is data/raw.* set adapt\.target\.path to it"),
    "too large": ({"path": TOO_LARGE, "max_unpacked_gb": 1e-6}, r"adapt\.target\.max_unpacked_gb = 1e-06 GB"),
    "no local archive": ({"urls": [{"url": "file:///no.zip", "sha256": 64 * "0"}]}, r"of adapt\.target\.urls does not"),
    "archive of an output": ({"urls": [{"url": "file://{top}/data/raw/manifest.csv", "sha256": 64 * "0"}]},
                             r"adapt\.target\.urls = .* lies in data/raw"),
    "other checksum": ({"urls": [{"url": "file://{top}/large.zip", "sha256": 64 * "0"}]},
                       f"adapt\\.target\\.urls says {64 * '0'}"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_PLACES)
def test_messages_name_the_keys_of_the_target(project: Path, name: str) -> None:
    with zipfile.ZipFile(project / TOO_LARGE, "w") as opened:
        opened.writestr("ct_train_1001_image.nii.gz", bytes(2000))
    values, says = WRONG_PLACES[name]
    for archive in (values := deepcopy(values)).get("urls", []):
        archive["url"] = archive["url"].format(top=project)
    target = TargetConfig(source="mmwhs", **values)
    with pytest.raises(CrossModalNetError, match=says) as caught:
        prepare_cohort(target, SECTIONS, project / "out", project / "scratch")
    assert not re.search(r"(?<![\w.])data\.\w", str(caught.value)), "a key of another section"


def _source(project: Path, write_cohort: WriteCohort) -> list[Subject]:
    return write_cohort(project / "data/raw")


def _roll(pair: Pair) -> None:
    for subject in (pair.ct, pair.mr):
        assert subject.label is not None
        label = read_label_map(subject.label)
        write_label_map(subject.label, Volume(np.roll(label.data, 3, 1), label.affine))


def _remove(pair: Pair) -> None:
    for subject in (pair.ct, pair.mr):
        assert subject.label is not None
        subject.label.unlink()
