"""Registration and cropping of tiny cohorts by real worker processes: reuse, leaks, failures."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.nifti import read_image, read_label_map, write_image
from crossmodalnet.imaging.volume import Volume
from pipeline.cohort.pairs import Pair, make_pairs, select
from pipeline.config.sections import CropConfig, SplitConfig
from pipeline.preparation import registration
from pipeline.preparation.cropping import choose_atlases, crop_pairs
from tests.pipeline.preparation.conftest import SECTIONS, WriteCohort, contents, move_labels, without_labels

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pairs(write_cohort: WriteCohort, tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    """Four subjects of each modality, of different pose and size: one pair tests, one validates, two train."""
    return make_pairs(write_cohort(tmp_path_factory.mktemp("raw")), SECTIONS.split)


def _run(pairs: list[Pair], top: Path, work: Path) -> Path:
    """Register and crop as the stages do, with `.work` below `work`; returns `top`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(work))
        folders = registration.register_pairs(pairs, SECTIONS.register)
        registration.write_registered(pairs, folders, top / "registered")
        registration.write_quality(pairs, folders, top / "qc")
        (top / "cropped").mkdir(parents=True)
        table = crop_pairs(pairs, SECTIONS.crop, top / "registered", top / "cropped")
    table.to_csv(top / "crop_qc.csv", index=False)
    return top


@pytest.fixture(scope="module")
def first(pairs: list[Pair], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cohort registered and cropped; `.work` lies in the same folder."""
    top = tmp_path_factory.mktemp("first")
    return _run(pairs, top, top)


def _changes(first: Path, second: Path) -> set[str]:
    """Files, but for tables, that differ between two runs or that one of them lacks."""
    before, after = (
        {n: c for n, c in contents(top).items() if not n.startswith(".work/") and not n.endswith(".csv")}
        for top in (first, second)
    )
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def _same_quality(*tops: Path) -> None:
    pd.testing.assert_frame_equal(*(pd.read_csv(top / "qc/pairs.csv").drop(columns="seconds") for top in tops))


def test_the_registered_folder_and_the_tables(pairs: list[Pair], first: Path) -> None:
    for pair in pairs:
        folder = first / "registered" / pair.name
        assert (folder / "ct.nii.gz").read_bytes() == pair.ct.image.read_bytes()
        mr, mr_label = read_image(folder / "mr.nii.gz"), read_label_map(folder / "mr_label.nii.gz")
        for volume in (mr, mr_label):
            assert volume.grid.same_as(read_image(pair.ct.image).grid)
        assert set(np.unique(mr_label.data)) <= {0, 1, 2, 5, 6}
    table = pd.read_csv(first / "qc/pairs.csv")
    assert tuple(table.columns) == registration.COLUMNS
    assert list(table["label_dice"].isna()) == [pair.role == "test" for pair in pairs]
    assert (table["mi_after"] > table["mi_before"]).all()
    cut = pd.read_csv(first / "crop_qc.csv")
    assert list(cut["pair"]) == [pair.name for pair in pairs]
    assert not cut.filter(like="cut_").to_numpy().any()


def test_finished_pairs_are_reused_after_a_kill_and_nothing_changes(
    pairs: list[Pair], first: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="pipeline")
    shutil.copytree(first / ".work", tmp_path / ".work")
    killed = next((tmp_path / ".work/register").iterdir())
    (killed / "done.json").unlink()
    (killed / "mr.nii.gz").write_bytes(b"half")
    again = _run(pairs, tmp_path / "again", tmp_path)
    assert "3 of 4 pairs reused" in caplog.text
    assert _changes(first, again) == set()
    _same_quality(first, again)


def _replace_test_pair(write_cohort: WriteCohort, tmp_path: Path, *, images: bool) -> tuple[str, Path]:
    """Run with other labels of the test subjects, and other images too; return their name and the results."""
    pairs = make_pairs(write_cohort(tmp_path / "raw"), SECTIONS.split)
    (pair,) = select(pairs, "test")
    move_labels(pair.ct.label, pair.mr.label)
    for subject in (pair.ct, pair.mr) if images else ():
        old = read_image(subject.image)
        write_image(subject.image, Volume(np.roll(old.data, 1, 0) * 0.9, old.affine))
    return pair.name, _run(pairs, tmp_path / "run", tmp_path)


@pytest.mark.stress
def test_other_test_subjects_change_nothing_of_the_others(
    write_cohort: WriteCohort, first: Path, tmp_path: Path
) -> None:
    name, replaced = _replace_test_pair(write_cohort, tmp_path, images=True)
    changed = _changes(first, replaced)
    for part in ("registered", "cropped", "qc/checkerboards"):
        assert any(file.startswith(f"{part}/{name}") for file in changed)
    assert all(Path(file.removeprefix("qc/")).parts[1].startswith(name) for file in changed)


def test_a_test_label_changes_label_files_only(write_cohort: WriteCohort, first: Path, tmp_path: Path) -> None:
    name, replaced = _replace_test_pair(write_cohort, tmp_path, images=False)
    labels = {"registered": ("ct_label", "mr_label"), "cropped": ("label", "mr_label")}
    expected = {f"{part}/{name}/{label}.nii.gz" for part, both in labels.items() for label in both}
    assert _changes(first, replaced) == expected
    _same_quality(first, replaced)


def test_without_labels_the_same_mr_and_no_label_files(
    pairs: list[Pair], first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    name = pairs[0].name
    folder = registration.register_pairs([without_labels(pairs[0])], SECTIONS.register)[name]
    assert (folder / "mr.nii.gz").read_bytes() == (first / "registered" / name / "mr.nii.gz").read_bytes()
    assert not list(folder.glob("*label*"))
    assert "label_dice" not in registration.read_record(folder)


@pytest.mark.stress
def test_pairs_that_cannot_be_registered_are_named_after_the_others_are_done(
    write_cohort: WriteCohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    pairs = make_pairs(write_cohort(tmp_path / "raw"), SECTIONS.split)
    image = read_image(pairs[0].mr.image)
    write_image(pairs[0].mr.image, Volume(np.zeros_like(image.data), image.affine))
    config = SECTIONS.register.model_copy(update={"min_gain": 0.001, "working_spacing_mm": 9.0})
    ct, mr = pairs[0].ct.name, pairs[0].mr.name
    with pytest.raises(DataError, match=rf"1 of 4 pairs could not(.|\n)*{ct}\+{mr}: failed: MR and CT"):
        registration.register_pairs(pairs, config)
    assert len(list(tmp_path.glob(".work/register/*/done.json"))) == 3
    assert "registration failed: MR and CT" in caplog.text


def test_the_label_of_a_lone_training_subject_gives_its_box(
    write_cohort: WriteCohort, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    few = [subject for subject in write_cohort(tmp_path) if not subject.name.endswith("1004")]
    pairs = make_pairs(few, SplitConfig())
    (alone,), (test,) = select(pairs, "train"), select(pairs, "test")
    assert choose_atlases(alone, pairs, CropConfig()) == []
    assert f"{alone.name}: the only training pair" in caplog.text
    assert choose_atlases(test, pairs, CropConfig()) == [alone.name]


def test_a_box_that_does_not_fit_is_reported(
    pairs: list[Pair], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pair = pairs[0]
    assert pair.ct.label is not None
    for name in ("ct", "mr"):
        (tmp_path / "registered" / pair.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(pair.ct.image, tmp_path / "registered" / pair.name / f"{name}.nii.gz")
        shutil.copy(pair.ct.label, tmp_path / "registered" / pair.name / f"{name}_label.nii.gz")
    config = SECTIONS.crop.model_copy(update={"roi": "labels", "size": (6, 6, 6)})
    table = crop_pairs([pair], config, tmp_path / "registered", tmp_path / "cropped")
    assert table["overflow_mm"].item() > 0
    label = read_label_map(pair.ct.label)
    assert 0 < table.filter(like="cut_").to_numpy().sum() < (label.data > 0).sum()
    assert "longer than crop.size times crop.spacing_mm" in caplog.text
    assert "labelled voxels outside the working grid" in caplog.text
    assert "crossmodalnet params fit" in caplog.text
