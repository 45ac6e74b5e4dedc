"""Registration and cropping of tiny cohorts by real worker processes: reuse, leaks, failures."""

import shutil
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.nifti import read_image, read_label_map, write_image, write_label_map
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.registration.config import RegistrationConfig
from pipeline.cohort.pairs import Pair, Subject, make_pairs, select
from pipeline.config.sections import CropConfig, SplitConfig
from pipeline.preparation.cropping import choose_atlases, crop_pairs
from pipeline.preparation.registration import (
    COLUMNS,
    read_record,
    register_pairs,
    write_quality,
    write_registered,
)

pytestmark = pytest.mark.slow

REGISTER = RegistrationConfig(
working_spacing_mm=10.0, iterations=[5], min_gain=-1.0)  # fmt: skip
CROP = CropConfig(spacing_mm=9.0, size=(14, 14, 14), num_atlases=1, atlas_spacing_mm=10.0)


@pytest.fixture(scope="module")
def raw(
    scan: Callable[..., Any], centred: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Four CT and four MR subjects of different pose and size: one pair tests, one validates, two train."""
    folder, shape = tmp_path_factory.mktemp("raw"), (22, 22, 22)
    for modality in Modality:
        for i in range(4):
            image, label = scan(
                modality.value,
                centred(9.5, shape),
                shape=shape,
                shift_mm=(4 * i, -3 * i, 2 * i),
                scale=1 - 0.03 * i,
            )
            write_image(folder / f"{modality.value}_{1001 + i}_image.nii.gz", image)
            write_label_map(folder / f"{modality.value}_{1001 + i}_label.nii.gz", label)
    return folder


def _pairs(raw: Path) -> list[Pair]:
    return make_pairs(_subjects(raw), SplitConfig())


def _subjects(raw: Path) -> list[Subject]:
    names = [f"{modality.value}_{1001 + i}" for modality in Modality for i in range(4)]
    return [
        Subject(name, Modality(name[:2]), raw / f"{name}_image.nii.gz", raw / f"{name}_label.nii.gz")
        for name in names
    ]


def _run(pairs: list[Pair], top: Path, work: Path) -> Path:
    """Register and crop as the stages do, with `.work` below `work`; returns `top`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(work))
        folders = register_pairs(pairs, REGISTER)
        write_registered(pairs, folders, top / "registered")
        write_quality(pairs, folders, top / "qc")
        (top / "cropped").mkdir(parents=True)
        crop_pairs(pairs, CROP, top / "registered", top / "cropped").to_csv(top / "crop_qc.csv", index=False)
    return top


@pytest.fixture(scope="module")
def first(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cohort registered and cropped; `.work` lies in the same folder."""
    top = tmp_path_factory.mktemp("first")
    return _run(_pairs(raw), top, top)


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_registered_folder_and_the_tables(raw: Path, first: Path) -> None:
    pairs = _pairs(raw)
    for pair in pairs:
        folder = first / "registered" / pair.name
        grid = read_image(pair.ct.image).grid
        assert (folder / "ct.nii.gz").read_bytes() == pair.ct.image.read_bytes()
        assert read_image(folder / "mr.nii.gz").grid.same_as(grid)
        assert read_label_map(folder / "mr_label.nii.gz").grid.same_as(grid)
        assert set(np.unique(read_label_map(folder / "mr_label.nii.gz").data)) <= {0, 1, 2, 5, 6}
    table = pd.read_csv(first / "qc/pairs.csv")
    assert tuple(table.columns) == COLUMNS
    assert list(table["label_dice"].isna()) == [pair.role == "test" for pair in pairs]
    assert (table["mi_after"] > table["mi_before"]).all()
    cut = pd.read_csv(first / "crop_qc.csv")
    assert list(cut["pair"]) == [pair.name for pair in pairs]
    assert not cut.filter(like="cut_").to_numpy().any()


def test_finished_pairs_are_reused_after_a_kill_and_nothing_changes(
    raw: Path, first: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="pipeline")
    shutil.copytree(first / ".work", tmp_path / ".work")
    killed = next((tmp_path / ".work/register").iterdir())
    (killed / "done.json").unlink()
    (killed / "mr.nii.gz").write_bytes(b"half")
    mine, elsewhere = (
        killed / f"run-999999999-{host}" for host in (socket.gethostname(), f"a-{socket.gethostname()}")
    )
    mine.mkdir()  # what ANTs left
    elsewhere.mkdir()  # of a machine whose processes are not seen here
    again = _run(_pairs(raw), tmp_path / "again", tmp_path)
    assert "3 of 4 pairs reused" in caplog.text
    assert list(killed.glob("run-*")) == [elsewhere]
    for part in ("registered", "cropped", "qc/checkerboards"):
        assert _bytes(again / part) == _bytes(first / part)
    tables = [pd.read_csv(top / "qc/pairs.csv").drop(columns="seconds") for top in (first, again)]
    pd.testing.assert_frame_equal(*tables)


@pytest.mark.stress
def test_other_test_subjects_change_nothing_of_the_others(raw: Path, first: Path, tmp_path: Path) -> None:
    shutil.copytree(raw, tmp_path / "raw")
    pairs = _pairs(tmp_path / "raw")
    (test_pair,) = select(pairs, "test")
    for subject in (test_pair.ct, test_pair.mr):
        _replace(subject)
    replaced = _run(pairs, tmp_path / "run", tmp_path)
    for part in ("registered", "cropped", "qc/checkerboards"):
        before, after = _bytes(first / part), _bytes(replaced / part)
        changed = {name for name in before if before[name] != after[name]}
        assert changed
        assert all(name.startswith(test_pair.name) for name in changed)


def test_a_test_label_changes_label_files_only(raw: Path, first: Path, tmp_path: Path) -> None:
    shutil.copytree(raw, tmp_path / "raw")
    pairs = _pairs(tmp_path / "raw")
    (test_pair,) = select(pairs, "test")
    for subject in (test_pair.ct, test_pair.mr):
        _replace(subject, image=False)
    replaced = _run(pairs, tmp_path / "run", tmp_path)
    changed = set()
    for part in ("registered", "cropped", "qc/checkerboards"):
        before, after = _bytes(first / part), _bytes(replaced / part)
        changed |= {f"{part}/{name}" for name in before if before[name] != after[name]}
    name = test_pair.name
    labels = [f"{part}/{name}/{label}" for part, label in (
        ("registered", "ct_label"), ("registered", "mr_label"), ("cropped", "label"), ("cropped", "mr_label"),
    )]  # fmt: skip
    assert changed == {f"{label}.nii.gz" for label in labels}
    tables = [pd.read_csv(top / "qc/pairs.csv").drop(columns="seconds") for top in (first, replaced)]
    pd.testing.assert_frame_equal(*tables)


def test_without_labels_the_same_mr_and_no_label_files(
    raw: Path, first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    pair = _pairs(raw)[0]
    bare = Pair(replace(pair.ct, label=None), replace(pair.mr, label=None), pair.role)
    folder = register_pairs([bare], REGISTER)[pair.name]
    assert (folder / "mr.nii.gz").read_bytes() == (
        first / "registered" / pair.name / "mr.nii.gz"
    ).read_bytes()
    assert not list(folder.glob("*label*"))
    assert "label_dice" not in read_record(folder)


@pytest.mark.stress
def test_pairs_that_cannot_be_registered_are_named_after_the_others_are_done(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    shutil.copytree(raw, tmp_path / "raw")
    pairs = _pairs(tmp_path / "raw")
    bad = pairs[0]
    image = read_image(bad.mr.image)
    write_image(bad.mr.image, Volume(np.zeros_like(image.data), image.affine))
    params = REGISTER.model_copy(update={"min_gain": 0.001, "working_spacing_mm": 9.0})
    with pytest.raises(
        DataError, match=rf"1 of 4 pairs could not(.|\n)*{bad.ct.name}\+{bad.mr.name}: from search"
    ):
        register_pairs(pairs, params)
    assert len(list(tmp_path.glob(".work/register/*/done.json"))) == 3
    assert "registration from search" in caplog.text


def test_atlases_are_other_training_subjects(raw: Path) -> None:
    more = [
        *_subjects(raw),
        *(Subject(f"ct_{n}", Modality.CT, Path("i"), Path("l")) for n in range(1005, 1030)),
    ]
    pairs = make_pairs(more, SplitConfig())
    train = {pair.name for pair in select(pairs, "train")}
    for pair in pairs:
        atlases = choose_atlases(pair, pairs, CropConfig(num_atlases=3))
        assert len(set(atlases)) == 3
        assert set(atlases) <= train - {pair.name}
        assert choose_atlases(pair, pairs, CropConfig(roi="labels")) == []


def test_the_label_of_a_lone_training_subject_gives_its_box(
    raw: Path, caplog: pytest.LogCaptureFixture
) -> None:
    few = [subject for subject in _subjects(raw) if not subject.name.endswith("1004")]
    pairs = make_pairs(few, SplitConfig())
    (alone,) = select(pairs, "train")
    assert choose_atlases(alone, pairs, CropConfig()) == []
    assert f"{alone.name}: the only training pair" in caplog.text
    (test,) = select(pairs, "test")
    assert choose_atlases(test, pairs, CropConfig()) == [alone.name]


def test_a_box_that_does_not_fit_is_reported(
    raw: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pair = _pairs(raw)[0]
    folder = tmp_path / "registered" / pair.name
    folder.mkdir(parents=True)
    assert pair.ct.label is not None
    shutil.copy(pair.ct.image, folder / "ct.nii.gz")
    shutil.copy(pair.ct.image, folder / "mr.nii.gz")
    for label in ("ct_label", "mr_label"):
        shutil.copy(pair.ct.label, folder / f"{label}.nii.gz")
    params = CROP.model_copy(update={"roi": "labels", "size": (6, 6, 6)})
    table = crop_pairs([pair], params, tmp_path / "registered", tmp_path / "cropped")
    assert table["overflow_mm"].item() > 0
    label = read_label_map(pair.ct.label)
    assert 0 < table.filter(like="cut_").to_numpy().sum() < (label.data > 0).sum()
    assert "longer than crop.size times crop.spacing_mm" in caplog.text
    assert "labelled voxels outside the working grid" in caplog.text
    assert "crossmodalnet params fit" in caplog.text


def _replace(subject: Subject, *, image: bool = True) -> None:
    """Put another person in a subject's place: everything moved by a voxel, another intensity."""
    assert subject.label is not None
    if image:
        old = read_image(subject.image)
        write_image(subject.image, Volume(np.roll(old.data, 1, 0) * 0.9, old.affine))
    label = read_label_map(subject.label)
    write_label_map(subject.label, Volume(np.roll(label.data, 2, 1), label.affine))
