"""Target domains: pairing, roles, grids, and that target labels reach nothing but the evaluation."""

import json
import re
import zipfile
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossmodalnet.errors import CrossModalNetError, DataError
from crossmodalnet.imaging.nifti import read_image, read_label_map, write_label_map
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.volume import Grid, Volume
from pipeline.cohort.pairs import Pair, Subject, make_pairs, read_manifest, subjects_by_role
from pipeline.config.sections import TargetConfig
from pipeline.preparation.cases import CroppedCase, read_cropped, write_cropped
from pipeline.preparation.domain import Domain, read_labelled_names
from pipeline.preparation.target import (
    MODALITIES,
    Labels,
    _register_and_crop,
    crop_task,
    pair_target,
    prepare_cohort,
    prepare_modality,
    write_target_labels,
)
from pipeline.runtime.paths import MANIFEST
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


# What the section says, and how the message names its keys.
WRONG_PLACES: dict[str, tuple[dict[str, Any], str]] = {
    "no path": ({"path": "/no/such"}, r"adapt\.target\.path = /no/such does not exist"),
    "an output": ({"path": "data/raw"}, r"adapt\.target\.path = .* is data/raw.* set adapt\.target\.path to it"),
    "no local archive": ({"urls": [{"url": "file:///no.zip", "sha256": 64 * "0"}]}, r"of adapt\.target\.urls does not"),
    "archive of an output": ({"urls": [{"url": "file://{top}/data/raw/manifest.csv", "sha256": 64 * "0"}]},
                             r"adapt\.target\.urls = .* lies in data/raw"),
    "other checksum": ({"urls": [{"url": "file://{top}/large.zip", "sha256": 64 * "0"}]},
                       f"adapt\\.target\\.urls says {64 * '0'}"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_PLACES)
def test_messages_name_the_keys_of_the_target(project: Path, name: str) -> None:
    with zipfile.ZipFile(project / "large.zip", "w") as opened:
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


@pytest.fixture
def prepared(project: Path, tmp_path: Path) -> tuple[Domain, Labels]:
    """Scenario `ct_to_mr`, written to `out`."""
    return prepare_modality("ct_to_mr", SECTIONS, tmp_path / "out")


@pytest.mark.slow
def test_source_with_labels_target_without_and_no_byte_depends_on_a_target_label(
    prepared: tuple[Domain, Labels], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (domain, labels), out = prepared, tmp_path / "out"
    assert domain.source is not None
    source, target = (
        {n for group in roles.values() for n in group} for roles in (domain.source, domain.target)
    )
    assert source == {f"ct_{1001 + i}" for i in range(4)}
    assert target == set(labels) == {f"mr_{1001 + i}" for i in range(4)}
    images = {subject.name: subject.image for subject in read_manifest(MANIFEST)}
    for part, names, files in (
        ("source", source, {"ct.nii.gz", "label.nii.gz", "crop.json"}),
        ("target", target, {"mr.nii.gz", "crop.json"}),
    ):
        for name in names:
            assert {path.name for path in (out / part / name).iterdir()} == files
            case = read_cropped(out / part / name)
            np.testing.assert_allclose(case.grid.affine[:3, :3], 9.0 * np.eye(3))
            assert case.native.same_as(read_image(images[name]).grid)
    _hearts_are_in_the_middle(out / "target", labels)

    for path in labels.values():
        label = read_label_map(path)
        write_label_map(path, Volume(np.roll(label.data, 3, 1), label.affine))
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "work"))  # so that nothing is reused
    assert prepare_modality("ct_to_mr", SECTIONS, tmp_path / "again")[0] == domain
    assert _bytes(tmp_path / "again") == _bytes(out)


def _hearts_are_in_the_middle(folder: Path, labels: Labels) -> None:
    """To one and a half voxels of the working grid, whose atlas is of the other modality."""
    for name, path in labels.items():
        grid, label = read_cropped(folder / name).grid, read_label_map(path)
        points = label.grid.to_world(np.array(np.nonzero(label.data)))
        centre = grid.to_world((np.array(grid.shape)[:, None] - 1) / 2)[:, 0]
        assert np.abs(centre - (points.min(axis=1) + points.max(axis=1)) / 2).max() < 14


def test_a_target_task_leads_to_no_target_label(write_cohort: WriteCohort, tmp_path: Path) -> None:
    pairs = make_pairs(write_cohort(tmp_path), SECTIONS.split)
    for source, target in MODALITIES.values():
        train = subjects_by_role(pairs, source)["train"]
        for subject in subjects_by_role(pairs, target)["test"]:
            task = crop_task(subject, train, SECTIONS.crop, tmp_path, labelled=False)
            assert subject.label not in [*task.images.values(), *(label for _, label in task.atlases)]
            assert task.labels == {}
            assert task.images == {target: subject.image}
            assert task.atlas_modality is source


def test_atlases_are_other_training_subjects_of_the_source(write_cohort: WriteCohort, tmp_path: Path) -> None:
    pairs = make_pairs(write_cohort(tmp_path), SECTIONS.split)
    source, target = (subjects_by_role(pairs, modality) for modality in Modality)
    config = SECTIONS.crop.model_copy(update={"num_atlases": 9})
    train = {subject.image for subject in source["train"]}
    for subject in [s for group in [*source.values(), *target.values()] for s in group]:
        task = crop_task(subject, source["train"], config, tmp_path, labelled=True)
        assert {image for image, _ in task.atlases} == train - {subject.image}
        assert task.labels == {subject.modality: subject.label}


def test_the_label_of_a_lone_training_subject_gives_its_roi(
    write_cohort: WriteCohort, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    alone = write_cohort(tmp_path)[0]
    assert crop_task(alone, [alone], SECTIONS.crop, tmp_path, labelled=True).atlases == ()
    assert f"{alone.name}: the only training subject" in caplog.text


NATIVE = Grid((8, 8, 8), np.diag([1.0, 1, 1, 1]))


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    """One case of 2 mm whose four voxels an edge lie over the native ones."""
    affine = np.diag([2.0, 2, 2, 1])
    affine[:3, 3] = 0.5
    image = Volume(np.ones((4, 4, 4), np.float32), affine)
    write_cropped(tmp_path / "cases/a", CroppedCase("a", image, None, None, NATIVE))
    return tmp_path / "cases"


def write_native(path: Path, affine: np.ndarray | None = None, value: int = 3) -> Path:
    data = np.zeros((8, 8, 8), np.uint8)
    data[2:4, 4:8, 0:2] = value
    write_label_map(path, Volume(data, NATIVE.affine if affine is None else affine))
    return path


def test_a_label_map_lies_on_both_grids(cases: Path, tmp_path: Path) -> None:
    path = write_native(tmp_path / "native.nii.gz")
    (tmp_path / "labels").mkdir()
    write_target_labels(tmp_path / "labels", cases, {"a": path})
    working = read_label_map(tmp_path / "labels/a/label.nii.gz")
    expected = np.zeros((4, 4, 4), np.uint8)
    expected[1, 2:4, 0] = 3
    np.testing.assert_array_equal(working.data, expected)
    np.testing.assert_array_equal(
        read_label_map(tmp_path / "labels/a/native.nii.gz").data, read_label_map(path).data
    )
    assert read_labelled_names(tmp_path / "labels") == ["a"]


def test_no_labels_are_an_empty_list(tmp_path: Path) -> None:
    write_target_labels(tmp_path, tmp_path, {})
    assert json.loads((tmp_path / "cases.json").read_text("utf-8")) == read_labelled_names(tmp_path) == []


def test_a_folder_without_a_list(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not list target labels .*dvc repro target"):
        read_labelled_names(tmp_path)


def test_labels_that_cannot_be_used_name_case_and_file(cases: Path, tmp_path: Path) -> None:
    elsewhere = write_native(tmp_path / "elsewhere.nii.gz", affine=np.diag([1.0, 1, 2, 1]))
    empty = write_native(tmp_path / "empty.nii.gz", value=0)
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"no image")
    for path, message in (
        (elsewhere, "another grid"),
        (empty, "labels no voxel"),
        (broken, "cannot be read"),
    ):
        with pytest.raises(DataError, match=rf"a: .*{path.name}.*{message}"):
            write_target_labels(tmp_path / "labels", cases, {"a": path})
