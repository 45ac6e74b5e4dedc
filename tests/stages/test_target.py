"""The stage `target`: off, on with a phantom of another scanner, and what a fault leaves behind."""

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from crossmodalnet.errors import DataError, UsageError
from crossmodalnet.imaging.codes import MMWHS
from pipeline.cohort.cohort import gather_cohort
from pipeline.cohort.pairs import make_pairs, write_manifest
from pipeline.config.sections import DataConfig, PhantomConfig, SplitConfig
from pipeline.preparation.cases import read_cropped
from pipeline.preparation.domain import read_domain, read_labelled_names
from stages.target import main

QUICK = """
register: {working_spacing_mm: 10.0, iterations: [5], min_gain: -1.0}
crop: {spacing_mm: 9.0, size: [16, 16, 16], num_atlases: 1, atlas_spacing_mm: 10.0}
"""
PHANTOM = "{num_labelled: 3, ct_spacing_mm: 6.0, mr_spacing_mm: 6.0}"


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path


def test_off_is_a_record_of_it(top: Path) -> None:
    (top / "params.yaml").write_text("adapt: {enabled: false}\n")
    main()
    assert json.loads((top / "data/target/domain.json").read_text("utf-8")) == {"scenario": None}
    assert read_domain() is None
    assert read_labelled_names() == []
    assert len(list((top / "data").rglob("*"))) == 4


def test_off_needs_neither_torch_nor_ants(top: Path) -> None:
    (top / "params.yaml").write_text("{}\n")
    code = "import sys; from stages.target import main; main(); print({'torch', 'ants'} & set(sys.modules))"
    repository = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=top, env={"PYTHONPATH": str(repository)}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "set()"


@pytest.mark.stress
def test_a_phantom_of_another_scanner(top: Path) -> None:
    source = PhantomConfig(num_labelled=3, num_unlabelled=0, ct_spacing_mm=6.0, mr_spacing_mm=6.0)
    subjects = gather_cohort(top / "data/raw", DataConfig(phantom=source))
    write_manifest(top / "data/raw/manifest.csv", subjects)
    (train,) = (pair for pair in make_pairs(subjects, SplitConfig()) if pair.role == "train")
    folder = top / "data/registered" / train.name
    folder.mkdir(parents=True)
    assert train.ct.label is not None
    (folder / "ct.nii.gz").write_bytes(train.ct.image.read_bytes())
    (folder / "ct_label.nii.gz").write_bytes(train.ct.label.read_bytes())
    (top / "params.yaml").write_text(f"{QUICK}\nadapt: {{enabled: true, target: {{phantom: {PHANTOM}}}}}\n")
    main()
    domain = read_domain()
    assert domain is not None
    assert domain.source is None
    names = [name for group in domain.target.values() for name in group]
    assert {role: len(group) for role, group in domain.target.items()} == dict.fromkeys(domain.target, 1)
    assert sorted(names) == read_labelled_names()
    assert sorted(path.name for path in (top / "data").iterdir()) == [
        "raw",
        "registered",
        "target",
        "target_labels",
    ]
    assert not list((top / "data/target").rglob("*label*"))
    for name in names:
        case = read_cropped(top / "data/target/target" / name)
        native = nib.load(top / "data/target_labels" / name / "native.nii.gz")
        codes = np.asanyarray(native.dataobj)
        assert native.shape == case.native.shape
        assert MMWHS.unknown(codes) == []
        assert len(np.unique(codes)) == 8
        working = nib.load(top / "data/target_labels" / name / "label.nii.gz")
        np.testing.assert_allclose(working.affine, case.grid.affine)
        assert (np.asanyarray(working.dataobj) > 0).sum() > 300


def test_a_fault_leaves_the_old_target(top: Path) -> None:
    (top / "params.yaml").write_text(f"{QUICK}\nadapt: {{enabled: true}}\n")
    (top / "data/target").mkdir(parents=True)
    (top / "data/target/old").touch()
    with pytest.raises(DataError, match="dvc repro download"):
        main()
    assert [path.name for path in (top / "data").rglob("*")] == ["target", "old"]


def test_an_unknown_scenario_is_a_usage_error(top: Path) -> None:
    (top / "params.yaml").write_text("adapt: {scenario: pet_to_ct}\n")
    with pytest.raises(UsageError, match=r"adapt\.scenario = 'pet_to_ct'"):
        main()
