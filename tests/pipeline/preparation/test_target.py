import json
import re
import zipfile
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nibabel.affines import from_matvec

from crossmodalnet.errors import CrossModalNetError, DataError
from crossmodalnet.imaging.nifti import read_image, read_label_map, write_label_map
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.volume import Grid, Volume
from crossmodalnet.io.outputs import write_json
from pipeline.cohort.pairs import Pair, make_pairs, read_manifest, subjects_by_role, write_manifest
from pipeline.config.sections import TargetConfig
from pipeline.preparation import target as module
from pipeline.preparation.cases import CroppedCase, read_cropped, write_cropped
from pipeline.preparation.domain import Domain, Roles, read_domain, read_labelled_names, write_domain
from pipeline.preparation.target import crop_task, pair_target, prepare_cohort, prepare_modality
from pipeline.runtime.paths import MANIFEST
from tests.pipeline.preparation.conftest import SECTIONS, WriteCohort, contents, move_labels, without_labels


def test_labelled_subjects_have_roles_and_others_train(write_cohort: WriteCohort, tmp_path: Path) -> None:
    subjects = write_cohort(tmp_path)
    assert {pair.role for pair in pair_target(subjects, SECTIONS.split)} == {"train", "validation", "test"}
    few = [replace(s, label=None) if int(s.name[-1]) > 2 else s for s in subjects]
    assert [pair.role for pair in pair_target(few, SECTIONS.split)] == ["train"] * 4


@pytest.mark.stress
def test_no_byte_of_the_cases_depends_on_a_label(
    project: Path, write_cohort: WriteCohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = pair_target(write_cohort(tmp_path / "other", extra_mm=9.0), SECTIONS.split)[0]
    source = pair_target(write_cohort(project / "data/raw"), SECTIONS.split)

    def cases(name: str, pair: Pair) -> dict[str, bytes]:
        monkeypatch.setenv("DVC_ROOT", str(tmp_path / f"work {name}"))  # so that nothing is reused
        module._register_and_crop([pair], source, SECTIONS, tmp_path / name)
        return contents(tmp_path / name)

    found = cases("first", pair)
    assert set(found) == {f"{pair.name}/{name}" for name in ("ct.nii.gz", "mr.nii.gz", "crop.json")}
    move_labels(pair.ct.label, pair.mr.label)
    assert cases("moved", pair) == found
    for label in (pair.ct.label, pair.mr.label):
        label.unlink()
    assert cases("removed", without_labels(pair)) == found


@pytest.mark.stress
def test_the_unlabelled_subjects_of_the_cohort_train(project: Path, tmp_path: Path) -> None:
    subjects = read_manifest(MANIFEST)
    bare = [replace(s, name=s.name.replace("1001", "2001"), label=None) for s in subjects if "1001" in s.name]
    write_manifest(MANIFEST, [*subjects, *bare])
    target = TargetConfig(source="unlabelled")
    domain, labels = prepare_cohort(target, SECTIONS, tmp_path / "out", tmp_path / "scratch")
    assert domain.target == {"train": ["ct_2001+mr_2001"], "validation": [], "test": []}
    assert labels == {}
    assert not (tmp_path / "scratch").exists()


def test_a_cohort_without_unlabelled_subjects_says_what_to_do(project: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"0 CT and 0 MR subjects(.|\n)*adapt\.target\.source"):
        prepare_cohort(TargetConfig(source="unlabelled"), SECTIONS, tmp_path, tmp_path / "scratch")


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("/no/such", r"adapt\.target\.path = /no/such does not exist"),
        ("data/raw", r"adapt\.target\.path = .* is data/raw.* set adapt\.target\.path to it"),
        ("file:///no.zip", r"of adapt\.target\.urls does not"),
        ("file://{top}/data/raw/manifest.csv", r"adapt\.target\.urls = .* lies in data/raw"),
        ("file://{top}/other_checksum.zip", rf"adapt\.target\.urls says {64 * '0'}"),
    ],
)
def test_messages_name_the_keys_of_the_target(project: Path, place: str, says: str) -> None:
    with zipfile.ZipFile(project / "other_checksum.zip", "w") as opened:
        opened.writestr("ct_train_1001_image.nii.gz", bytes(2000))
    archives = [{"url": place.format(top=project), "sha256": 64 * "0"}]
    values: dict[str, Any] = {"urls": archives} if place.startswith("file:") else {"path": place}
    target = TargetConfig(source="mmwhs", **values)
    with pytest.raises(CrossModalNetError, match=says) as caught:
        prepare_cohort(target, SECTIONS, project / "out", project / "scratch")
    assert not re.search(r"(?<![\w.])data\.\w", str(caught.value)), "a key of another section"


NUMBERS = range(1001, 1005)


@pytest.mark.slow
def test_source_with_labels_target_without_and_no_byte_depends_on_a_target_label(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    domain, labels = prepare_modality("ct_to_mr", SECTIONS, out)
    files = [f"source/ct_{n}/{name}" for n in NUMBERS for name in ("ct.nii.gz", "label.nii.gz", "crop.json")]
    files += [f"target/mr_{n}/{name}" for n in NUMBERS for name in ("mr.nii.gz", "crop.json")]
    assert contents(out).keys() == set(files)
    assert set(chain(*domain.source.values())) == {f"ct_{n}" for n in NUMBERS}
    assert set(chain(*domain.target.values())) == labels.keys() == {f"mr_{n}" for n in NUMBERS}
    for subject in read_manifest(MANIFEST):
        [folder] = out.glob(f"*/{subject.name}")
        case = read_cropped(folder)
        np.testing.assert_allclose(case.grid.affine[:3, :3], 9.0 * np.eye(3))
        assert case.native.same_as(read_image(subject.image).grid)
    _hearts_are_in_the_middle(out / "target", labels)

    move_labels(*labels.values())
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "work"))  # so that nothing is reused
    assert prepare_modality("ct_to_mr", SECTIONS, tmp_path / "again")[0] == domain
    assert contents(tmp_path / "again") == contents(out)


def _hearts_are_in_the_middle(folder: Path, labels: module.Labels) -> None:
    """To one and a half voxels of the working grid, whose atlas is of the other modality."""
    for name, path in labels.items():
        grid, label = read_cropped(folder / name).grid, read_label_map(path)
        points = label.grid.to_world(np.array(np.nonzero(label.data)))
        centre = grid.to_world((np.array(grid.shape)[:, None] - 1) / 2)[:, 0]
        assert np.abs(centre - (points.min(axis=1) + points.max(axis=1)) / 2).max() < 14


def test_a_target_task_leads_to_no_target_label(write_cohort: WriteCohort, tmp_path: Path) -> None:
    pairs = make_pairs(write_cohort(tmp_path), SECTIONS.split)
    for source, target in module.MODALITIES.values():
        train = subjects_by_role(pairs, source)["train"]
        for subject in subjects_by_role(pairs, target)["test"]:
            task = crop_task(subject, train, SECTIONS.crop, tmp_path, labelled=False)
            assert subject.label not in [label for _, label in task.atlases]
            assert (task.images, task.labels) == ({target: subject.image}, {})
            assert task.atlas_modality is source


def test_atlases_are_other_training_subjects_of_the_source(write_cohort: WriteCohort, tmp_path: Path) -> None:
    pairs = make_pairs(write_cohort(tmp_path), SECTIONS.split)
    source, target = (subjects_by_role(pairs, modality) for modality in Modality)
    config = SECTIONS.crop.model_copy(update={"num_atlases": 9})
    train = {subject.image for subject in source["train"]}
    for subject in chain(*source.values(), *target.values()):
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
    image = Volume(np.ones((4, 4, 4), np.float32), from_matvec(2 * np.eye(3), (0.5, 0.5, 0.5)))
    write_cropped(tmp_path / "cases/a", CroppedCase("a", image, None, None, NATIVE))
    return tmp_path / "cases"


def write_native(path: Path, affine: np.ndarray | None = None, value: int = 3) -> Path:
    data = np.zeros((8, 8, 8), np.uint8)
    data[2:4, 4:8, 0:2] = value
    write_label_map(path, Volume(data, NATIVE.affine if affine is None else affine))
    return path


def test_a_label_map_lies_on_both_grids(cases: Path, tmp_path: Path) -> None:
    path = write_native(tmp_path / "native.nii.gz")
    module.write_target_labels(tmp_path, cases, {"a": path})
    working, native = (read_label_map(tmp_path / f"a/{name}.nii.gz").data for name in ("label", "native"))
    expected = np.zeros((4, 4, 4), np.uint8)
    expected[1, 2:4, 0] = 3
    np.testing.assert_array_equal(working, expected)
    np.testing.assert_array_equal(native, read_label_map(path).data)
    assert read_labelled_names(tmp_path) == ["a"]


def test_no_labels_are_an_empty_list_and_no_list_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not list target labels .*dvc repro target"):
        read_labelled_names(tmp_path)
    module.write_target_labels(tmp_path, tmp_path, {})
    assert json.loads((tmp_path / "cases.json").read_text("utf-8")) == read_labelled_names(tmp_path) == []


def test_labels_that_cannot_be_used_name_case_and_file(cases: Path, tmp_path: Path) -> None:
    elsewhere = write_native(tmp_path / "elsewhere.nii.gz", affine=np.diag([1.0, 1, 2, 1]))
    empty = write_native(tmp_path / "empty.nii.gz", value=0)
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"no image")
    faults = {elsewhere: "another grid", empty: "labels no voxel", broken: "cannot be read"}
    for path, message in faults.items():
        with pytest.raises(DataError, match=rf"a: .*{path.name}.*{message}"):
            module.write_target_labels(tmp_path / "labels", cases, {"a": path})


ROLES: Roles = {"train": ["ct_1", "ct_2"], "validation": ["ct_3"], "test": []}


@pytest.mark.parametrize(
    "domain", [None, Domain("cohort", None, ROLES), Domain("mr_to_ct", {**ROLES, "test": ["mr_9"]}, ROLES)]
)
def test_a_record_comes_back(domain: Domain | None, tmp_path: Path) -> None:
    write_domain(tmp_path, domain)
    assert read_domain(tmp_path) == domain


@pytest.mark.parametrize(
    "content",
    [
        None,
        {},
        {"scenario": "pet_to_ct", "source": None, "target": ROLES},
        {"scenario": "cohort", "source": None, "target": {"train": []}},
        {"scenario": "cohort", "source": None, "target": None},
    ],
)
def test_anything_else_names_the_folder_and_the_stage(content: object, tmp_path: Path) -> None:
    if content is not None:
        write_json(tmp_path / "domain.json", content)
    with pytest.raises(DataError, match=r"does not hold a target domain .*dvc repro target"):
        read_domain(tmp_path)
