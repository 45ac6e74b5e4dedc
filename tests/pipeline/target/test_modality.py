"""Scenarios `ct_to_mr` and `mr_to_ct`: roles, grids, and that target labels reach nothing."""

from pathlib import Path

import numpy as np
import pytest

from crossmodalnet.imaging.nifti import read_image, read_label_map, write_label_map
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.labels import Modality
from pipeline.cases import make_pairs, read_manifest, subjects_by_role
from pipeline.cropped import read_cropped
from pipeline.target.modality import MODALITIES, prepare_modality, source_task, target_task
from tests.pipeline.target.quick import SECTIONS, WriteCohort


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("scenario", MODALITIES)
def test_source_with_labels_target_without(project: Path, tmp_path: Path, scenario: str) -> None:
    prepared = prepare_modality(scenario, SECTIONS, tmp_path / "out")
    domain = prepared.domain
    assert domain.source is not None
    source, target = (
        {n for group in roles.values() for n in group} for roles in (domain.source, domain.target)
    )
    kinds = [modality.value for modality in MODALITIES[scenario]]
    assert source == {f"{kinds[0]}_{1001 + i}" for i in range(4)}
    assert target == set(prepared.labels) == {f"{kinds[1]}_{1001 + i}" for i in range(4)}
    for part, names, kind, label in (("source", source, kinds[0], True), ("target", target, kinds[1], False)):
        for name in names:
            files = {path.name for path in (tmp_path / "out" / part / name).iterdir()}
            assert files == {f"{kind}.nii.gz", "crop.json"} | ({"label.nii.gz"} if label else set())
            case = read_cropped(tmp_path / "out" / part / name)
            np.testing.assert_allclose(case.grid.affine[:3, :3], 9.0 * np.eye(3))
            image = next(s.image for s in read_manifest(Path("data/raw/manifest.csv")) if s.name == name)
            assert case.native.same_as(read_image(image).grid)


@pytest.mark.parametrize("scenario", MODALITIES)
def test_no_byte_depends_on_a_target_label(
    project: Path, tmp_path: Path, scenario: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = prepare_modality(scenario, SECTIONS, tmp_path / "before")
    for path in before.labels.values():
        label = read_label_map(path)
        write_label_map(path, Volume(np.roll(label.data, 3, 1), label.affine))
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "work"))  # so that nothing is reused
    after = prepare_modality(scenario, SECTIONS, tmp_path / "after")
    assert after.domain == before.domain
    assert _bytes(tmp_path / "after") == _bytes(tmp_path / "before")


def test_the_heart_of_the_other_modality_is_found(project: Path, tmp_path: Path) -> None:
    prepared = prepare_modality("ct_to_mr", SECTIONS, tmp_path)
    for name, path in prepared.labels.items():
        grid, label = read_cropped(tmp_path / "target" / name).grid, read_label_map(path)
        points = label.grid.to_world(np.array(np.nonzero(label.data)))
        centre = grid.to_world((np.array(grid.shape)[:, None] - 1) / 2)[:, 0]
        assert np.abs(centre - (points.min(axis=1) + points.max(axis=1)) / 2).max() < 14


def test_atlases_are_other_training_subjects_of_the_source(write_cohort: WriteCohort, tmp_path: Path) -> None:
    pairs = make_pairs(write_cohort(tmp_path), SECTIONS.split)
    source, target = (subjects_by_role(pairs, modality) for modality in Modality)
    params = SECTIONS.crop.model_copy(update={"num_atlases": 9})
    train = {subject.image for subject in source["train"]}
    for subject in [s for group in source.values() for s in group]:
        task = source_task(subject, source["train"], params, tmp_path)
        assert {atlas.image for atlas in task.atlases} == train - {subject.image}
        assert task.label == subject.label
    for subject in [s for group in target.values() for s in group]:
        task = target_task(subject, source["train"], params, tmp_path)
        assert {atlas.image for atlas in task.atlases} == train
        assert task.atlas_modality is Modality.CT
        assert task.label is None


def test_the_label_of_a_lone_training_subject_gives_its_box(
    write_cohort: WriteCohort, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    alone = write_cohort(tmp_path)[0]
    assert source_task(alone, [alone], SECTIONS.crop, tmp_path).atlases == ()
    assert f"{alone.name}: the only training subject" in caplog.text
