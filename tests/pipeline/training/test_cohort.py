import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from crossmodalnet.errors import DataError, UsageError
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.networks.common.card import label_entries
from pipeline.preparation.cases import read_cropped, write_cropped
from pipeline.training.cohort import read_cohort
from pipeline.training.params import read_params


@pytest.fixture
def intensity(target, set_params):
    return read_params("crossmodalnet").intensity


def test_a_target_that_was_not_made(intensity, target):
    (target / "domain.json").write_text('{"scenario": null}')
    with pytest.raises(DataError, match="made without it: run `dvc repro target`"):
        read_cohort(intensity, adapts=True)
    (target / "domain.json").unlink()
    with pytest.raises(DataError, match="dvc repro target"):
        read_cohort(intensity, adapts=True)


@pytest.mark.parametrize(("folder", "adapts"), [("data/target/target/p", True), ("data/cropped/b", False)])
def test_cases_on_different_grids_are_refused(intensity, cohort, folder, adapts):
    case = read_cropped(cohort / folder)
    thin = {name: Volume(getattr(case, name).data[:8], case.grid.affine) for name in ("ct", "mr")}
    shutil.rmtree(cohort / folder)
    write_cropped(cohort / folder, replace(case, **thin))
    with pytest.raises(DataError, match=rf"{case.name}: \(8, 16, 16\) voxels"):
        read_cohort(intensity, adapts=adapts)


@pytest.fixture
def without_aorta():
    split = Path("data/split.json")
    split.write_text(json.dumps({**json.loads(split.read_text("utf-8")), "missing": ["AO"]}))


def test_a_structure_that_is_not_delineated_is_told(intensity, without_aorta, caplog):
    cohort = read_cohort(intensity)
    assert (len(cohort.training), cohort.missing) == (3, ("AO",))
    assert "AO" not in [entry.abbreviation for entry in label_entries(cohort.missing)]
    assert "AO: not delineated in this cohort, learnt as background and not scored" in caplog.text


def test_an_adaptation_needs_every_structure(intensity, without_aorta):
    with pytest.raises(UsageError, match=r"does not delineate AO: the adaptation aligns every structure"):
        read_cohort(intensity, adapts=True)
