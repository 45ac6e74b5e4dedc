"""Scenarios `ct_to_mr` and `mr_to_ct`: roles, grids, and that target labels reach nothing."""

from pathlib import Path

import numpy as np
import pytest

from crossmodalnet.imaging.nifti import read_image, read_label_map, write_label_map
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.volume import Volume
from pipeline.cohort.pairs import make_pairs, read_manifest, subjects_by_role
from pipeline.preparation.cases import read_cropped
from pipeline.preparation.domain import Domain
from pipeline.preparation.target import MODALITIES, Labels, crop_task, prepare_modality
from pipeline.runtime.paths import MANIFEST
from tests.pipeline.preparation.quick import SECTIONS, WriteCohort


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


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
