import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crossmodalnet.imaging.inspect import Finding
from crossmodalnet.imaging.structures import Modality
from pipeline.cohort.nnunet import is_nnunet, read_nnunet

LABELS = {"background": 0, "left ventricle": 1, "heart_myocardium": 2, "liver": 3}
SECOND = {"channel_names": {"0": "CT", "1": "MR"}, "labels": LABELS}
FIRST = {"modality": {"0": "CT", "1": "MRI"}, "labels": {str(value): name for name, value in LABELS.items()}}
Layout = Callable[..., Path]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Lay out empty files: two cases to train, a labelled and an unlabelled one to test."""

    def make(description: Any = SECOND, ending: str = ".nii.gz") -> Path:
        (tmp_path / "set").mkdir()
        cases = ("imagesTr/a", "imagesTr/b_1", "imagesTs/c", "imagesTs/d")
        names = [f"{case}_{channel:04d}{ending}" for case in cases for channel in (0, 1)]
        for name in [*names, *(f"{label}{ending}" for label in ("labelsTr/a", "labelsTr/b_1", "labelsTs/c"))]:
            (tmp_path / "set" / name).parent.mkdir(exist_ok=True)
            (tmp_path / "set" / name).touch()
        text = description if isinstance(description, str) else json.dumps(description)
        (tmp_path / "set/dataset.json").write_text(text)
        return tmp_path / "set"

    return make


def errors(folder: Path) -> list[Finding]:
    return [finding for finding in read_nnunet(folder).findings if finding.severity == "error"]


@pytest.mark.parametrize("description", [FIRST, SECOND])
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".NII"])
def test_cases_are_patients_and_channels_modalities(layout: Layout, description: Any, ending: str) -> None:
    folder = layout(description, ending)
    assert is_nnunet(folder)
    table = read_nnunet(folder)
    cases = (("a", True, None), ("b_1", True, None), ("c", True, "test"), ("d", False, None))
    assert [(r.patient, r.modality, r.label.name if r.label else None, r.role) for r in table.scans] == [
        (case, modality, case + ending if is_labelled else None, role)
        for case, is_labelled, role in cases
        for modality in Modality
    ]
    assert table.codes
    assert table.codes.codes == {"LV": [1], "Myo": [2]}
    assert table.codes.missing == ("RV", "LA", "RA", "AO", "PA")
    [warning] = table.findings
    assert warning.severity == "warning"
    assert warning.what == "label 'liver' (3) is none of our structures: read as background"


def test_channels_by_name(layout: Layout) -> None:
    first, second = read_nnunet(layout(SECOND | {"channel_names": {"0": "MRI T2", "1": "CT"}})).scans[:2]
    assert (first.modality, first.image.name) == (Modality.MR, "a_0000.nii.gz")
    assert (second.modality, second.image.name) == (Modality.CT, "a_0001.nii.gz")


def test_channels_by_number_with_a_warning(layout: Layout) -> None:
    table = read_nnunet(layout(SECOND | {"channel_names": {"0": "CT", "1": "bSSFP"}}))
    assert "channel 1 is called 'bSSFP': taken as MR" in [f.what for f in table.findings]
    assert len(table.scans) == 8


BAD: dict[str, tuple[Any, str]] = {
    "no json": ("{", "not JSON"),
    "deep": ("[" * 100_000, "not JSON"),
    "no labels": ({"modality": {}}, 'has no "labels"'),
    "list": ([1], 'has no "labels"'),
    "regions": (SECOND | {"labels": {"background": 0, "LV": 1, "heart": [1, 2]}}, "'heart' = [1, 2] is no value"),
    "ignored": (SECOND | {"labels": {"background": 0, "LV": 1, "ignore": 2}}, "'ignore' = 2 is no value"),
    "none of ours": (SECOND | {"labels": {"background": 0, "liver": 1}}, "every structure is missing"),
    "two CTs": (SECOND | {"channel_names": {"0": "CT", "1": "CT"}}, "two channels of one modality: CT, CT"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_invalid_description_is_refused(layout: Layout, name: str) -> None:
    description, what = BAD[name]
    [error] = errors(layout(description))
    assert what in error.what


def test_links_out_of_the_folder_are_refused(layout: Layout, tmp_path: Path) -> None:
    folder = layout()
    for name in ("imagesTr/a_0000.nii.gz", "labelsTr/b_1.nii.gz"):
        (folder / name).rename(tmp_path / Path(name).name)
        (folder / name).symlink_to(tmp_path / Path(name).name)
    assert sorted((f.case, f.file, f.what) for f in errors(folder)) == [
        ("a", "imagesTr/a_0000.nii.gz", "image lies outside the data set's folder"),
        ("b_1", "labelsTr/b_1.nii.gz", "label map lies outside the data set's folder"),
    ]


def test_empty_data_set_is_an_error(layout: Layout) -> None:
    folder = layout()
    for path in folder.glob("images*/*"):
        path.unlink()
    assert [f.what for f in errors(folder)] == ["no case in imagesTr"]
