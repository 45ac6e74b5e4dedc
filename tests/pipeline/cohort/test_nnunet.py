import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crossmodalnet.imaging.structures import Modality
from pipeline.cohort.nnunet import is_nnunet, read_nnunet

SECOND = {
    "channel_names": {"0": "CT", "1": "MR"},
    "labels": {"background": 0, "left ventricle": 1, "heart_myocardium": 2, "liver": 3},
    "numTraining": 2,
    "file_ending": ".nii.gz",
}
FIRST = {
    "modality": {"0": "CT", "1": "MRI"},
    "labels": {"0": "background", "1": "LV", "2": "Myo", "3": "liver"},
}
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


@pytest.mark.parametrize("description", [FIRST, SECOND])
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".NII"])
def test_cases_are_patients_and_channels_modalities(layout: Layout, description: Any, ending: str) -> None:
    folder = layout(description, ending)
    assert is_nnunet(folder)
    table = read_nnunet(folder)
    assert [(r.patient, r.modality, r.label.name if r.label else None, r.role) for r in table.scans] == [
        (case, modality, label and label + ending, role)
        for case, label, role in (
            ("a", "a", None),
            ("b_1", "b_1", None),
            ("c", "c", "test"),
            ("d", None, None),
        )
        for modality in Modality
    ]
    assert table.codes
    assert table.codes.codes == {"LV": [1], "Myo": [2]}
    assert table.codes.missing == ("RV", "LA", "RA", "AO", "PA")
    assert [(f.severity, f.what) for f in table.findings] == [
        ("warning", "label 'liver' (3) is none of our structures: read as background")
    ]


def test_channels_by_name(layout: Layout) -> None:
    table = read_nnunet(layout(SECOND | {"channel_names": {"0": "MRI T2", "1": "CT"}}))
    assert [(r.modality.value, r.image.name) for r in table.scans][:2] == [
        ("mr", "a_0000.nii.gz"), ("ct", "a_0001.nii.gz"),
    ]  # fmt: skip


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
    errors = [f.what for f in read_nnunet(layout(description)).findings if f.severity == "error"]
    assert len(errors) == 1
    assert what in errors[0]


def test_links_out_of_the_folder_are_refused(layout: Layout, tmp_path: Path) -> None:
    folder = layout()
    for name in ("imagesTr/a_0000.nii.gz", "labelsTr/b_1.nii.gz"):
        (folder / name).rename(tmp_path / Path(name).name)
        (folder / name).symlink_to(tmp_path / Path(name).name)
    found = read_nnunet(folder).findings
    errors = [(f.case, f.file, f.what) for f in found if f.severity == "error"]
    assert sorted(errors) == [
        ("a", "imagesTr/a_0000.nii.gz", "image lies outside the data set's folder"),
        ("b_1", "labelsTr/b_1.nii.gz", "label map lies outside the data set's folder"),
    ]


def test_empty_data_set_is_an_error(layout: Layout) -> None:
    folder = layout()
    for path in folder.glob("images*/*"):
        path.unlink()
    assert [f.what for f in read_nnunet(folder).findings if f.severity == "error"] == ["no case in imagesTr"]
