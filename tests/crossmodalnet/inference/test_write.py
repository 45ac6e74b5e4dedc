import base64
import gzip
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nibabel.affines import from_matvec
from PIL import Image

from crossmodalnet.errors import UsageError
from crossmodalnet.imaging.structures import ABBREVIATIONS
from crossmodalnet.imaging.volume import Volume
from crossmodalnet.inference import write as module
from crossmodalnet.inference.predictor import Prediction
from crossmodalnet.inference.quality_flags import Flag, QualityFlag
from crossmodalnet.inference.write import PatientScans, digest_models, origin_of, prediction_folder
from crossmodalnet.networks.common.card import label_entries
from crossmodalnet.registration.quality import Quality
from crossmodalnet.roi.box import Box

AFFINE = np.diag([2.0, 2.0, 2.5, 1.0])
CARD: Any = SimpleNamespace(
    name="crossmodalnet", seed=0, validation_dice=0.9, labels=label_entries(["RA"]),
    origin="table: hearts.csv, 13 training cases",
)  # fmt: skip


def prediction(**changes: Any) -> Prediction:
    labels = np.zeros((20, 20, 16), np.uint8)
    labels[4:8, 4:8, 4:8] = 5
    labels[10:12, 10:12, 10:12] = 1
    image = np.random.default_rng(0).uniform(-500, 500, labels.shape).astype(np.float32)
    confidence = dict.fromkeys(ABBREVIATIONS, 0.9) | {"PA": float("nan")}
    flags = (QualityFlag(Flag.MISSING, "not found: pulmonary artery"),)
    box = Box((0.0, 0.0, -29.88999999999999), (30.0, 30.0, 30.0))
    ct, ct_labels = Volume(image, AFFINE), Volume(labels, AFFINE)
    return replace(Prediction(ct, None, ct_labels, None, box, confidence, {}, None, flags), **changes)


def write(out: Path, codes: str = "mmwhs", ct: Path | None = None, **changes: Any) -> dict[str, Any]:
    scans = PatientScans("<b>&p", ct or out.parent / "=x.nii", None)
    origin = origin_of(scans, "digest", codes=codes)
    with prediction_folder(out) as new:
        return module.write_prediction(new, prediction(**changes), [CARD], scans, origin, seconds=1.0)


def test_files_and_record(tmp_path: Path) -> None:
    record = write(tmp_path / "out", registration=Quality(0.1, 0.25, 0.0, 22.284992, 0.053927, 0.91264))
    names = {"labels_ct.nii.gz", "preview.html", "preview.png", "run.json", "volumes.csv"}
    assert {file.name for file in (tmp_path / "out").iterdir()} == names
    assert json.loads((tmp_path / "out/run.json").read_text("utf-8")) == record
    assert (record["confidence"]["PA"], "RA" in record["confidence"]) == (None, False)
    assert record["registration"]["largest_displacement_mm"] == 22.28
    assert record["heart_box_mm"] == [[0, 0, -29.89], [30, 30, 30]]
    assert record["quality_flags"] == [{"flag": "structure_missing", "says": "not found: pulmonary artery"}]
    assert record["made_from"]["labels"] == "mmwhs"
    assert record["models"][0]["trained_on"] == CARD.origin
    labels = nib.load(tmp_path / "out/labels_ct.nii.gz")
    assert set(np.unique(labels.dataobj)) == {0, 205, 500}
    np.testing.assert_array_equal(labels.affine, AFFINE)


def page(tmp_path: Path, **changes: Any) -> str:
    write(tmp_path / "out", **changes)
    return (tmp_path / "out/preview.html").read_text("utf-8")


def test_page_is_self_contained_and_lists_volumes_and_flags(tmp_path: Path) -> None:
    made = page(tmp_path, quality_flags=(QualityFlag(Flag.HEADER, "MR <i>"),))
    assert "http://" not in made
    assert "https://" not in made
    for part in (
        "<h1>&lt;b&gt;&amp;p</h1>", "not a medical device", "<li>MR &lt;i&gt;</li>",
        "Trained on table: hearts.csv, 13 training cases.",
        'class="found"><td><i style="background: #2ca02c"></i>Myo: myocardium of the left ventricle</td><td>0.6</td>',
        '<tr class="missing"><td><i style="background: none"></i>PA: pulmonary artery</td><td>not found</td><td></td>',
        "Not segmented by this model: right atrium blood cavity.",
    ):  # fmt: skip
        assert part in made
    assert "RA: right" not in made


def test_page_holds_ct_and_mr_voxels_along_the_world_axes(tmp_path: Path) -> None:
    turned = np.diag([-2.0, 2.0, 2.5, 1.0]) @ from_matvec(np.eye(3), (-19, 0, 0))  # x runs to the left
    labels = prediction().ct_labels
    assert labels is not None
    image = Volume(np.random.default_rng(0).uniform(0, 300, labels.data.shape).astype(np.float32), turned)
    made = page(tmp_path, mr=image, mr_labels=Volume(labels.data[::-1], turned))
    content = json.loads(re.findall(r'"application/json">(.*?)</script>', made)[0])
    for view in content["views"]:
        voxels = np.frombuffer(gzip.decompress(base64.b64decode(view["packed"])), np.uint8)
        classes = voxels[voxels.size // 2 :].reshape(view["shape"], order="F")
        for index, first in ((5, 4), (1, 10)):
            low = view["origin_mm"] + view["spacing_mm"] * np.argwhere(classes == index).min(axis=0)
            np.testing.assert_allclose(low, (2 * first - 1, 2 * first - 1, 2.5 * first - 1.25), atol=1)
    assert 'name="view" checked>CT' in made


def test_page_and_picture_of_an_empty_label_map(tmp_path: Path) -> None:
    assert page(tmp_path, ct_labels=Volume(np.zeros((20, 20, 16), np.uint8), AFFINE)).count('class="missing"') == 6


def test_volumes_in_ml_and_mass_of_the_myocardium_in_g(tmp_path: Path) -> None:
    write(tmp_path / "out")
    table = pd.read_csv(tmp_path / "out/volumes.csv").set_index("structure")
    assert table.loc["Myo", "volume_ml"] == pytest.approx(64 * 10 / 1000)
    assert table.loc["Myo", "mass_g"] == pytest.approx(0.64 * 1.05, abs=1e-3)
    assert table.loc["LV", "volume_ml"] == pytest.approx(8 * 10 / 1000)
    assert table["mass_g"].notna().sum() == 1
    assert set(table.index) == {*ABBREVIATIONS} - {"RA"}  # which the cohort does not delineate


@pytest.mark.parametrize("shows_heart", [True, False])
def test_preview_of_the_mr_of_a_pair(tmp_path: Path, shows_heart: bool) -> None:
    values = np.zeros((24, 24, 20), np.uint8)
    values[8:14, 8:14, 8:14] = 2 * shows_heart
    far = from_matvec(2 * np.eye(3), (500, 0, 0))
    image = Volume(np.random.default_rng(0).uniform(0, 300, values.shape).astype(np.float32), far)
    write(tmp_path / "out", "index", mr=image, mr_labels=Volume(values, far))
    assert (tmp_path / "out/preview_mr.png").exists() == shows_heart
    if shows_heart:
        assert set(np.unique(nib.load(tmp_path / "out/labels_mr.nii.gz").dataobj)) == {0, 2}
        table = pd.read_csv(tmp_path / "out/volumes.csv").set_index(["modality", "structure"])
        assert (table.loc[("CT", "RV"), "confidence"], np.isnan(table.loc[("MR", "RV"), "confidence"])) == (0.9, True)
        with Image.open(tmp_path / "out/preview_mr.png") as picture:
            blue = (np.asarray(picture, int) * (-1, -1, 2)).sum(axis=-1) > 60  # of the right ventricle
        assert blue.sum() > 1000


@pytest.mark.parametrize(
    ("codes", "myocardium", "left_ventricle"),
    [("mmwhs", 205, 500), ("index", 5, 1), ("totalsegmentator", 1, 3), ("totalsegmentator_v1", 44, 46)],
)
def test_label_codes(tmp_path: Path, codes: str, myocardium: int, left_ventricle: int) -> None:
    record = write(tmp_path / "out", codes)
    values = np.asarray(nib.load(tmp_path / "out/labels_ct.nii.gz").dataobj)
    assert values[5, 5, 5] == record["label_values"]["Myo"] == myocardium
    assert values[11, 11, 11] == record["label_values"]["LV"] == left_ventricle


def test_incomplete_series_gets_no_segmentation(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "series").mkdir()
    write(tmp_path / "out", ct=tmp_path / "series")
    assert "CT: no DICOM segmentation: holds no DICOM series" in caplog.text
    assert not (tmp_path / "out/labels_ct.dcm").exists()


def test_folders_with_other_files_are_never_replaced(tmp_path: Path) -> None:
    write(tmp_path / "out")
    write(tmp_path / "out")  # replaces an earlier prediction
    (tmp_path / "out/thesis.tex").touch()
    with pytest.raises(UsageError, match=r"holds other files and would be replaced \(thesis\.tex\)"):
        write(tmp_path / "out")
    assert (tmp_path / "out/thesis.tex").exists()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    for name in ("file", "link"):
        with pytest.raises(UsageError, match="is no folder"):
            write(tmp_path / name)


def test_current_folder_is_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out/inside").mkdir(parents=True)
    for where in ("out", "out/inside"):
        monkeypatch.chdir(tmp_path / where)
        with pytest.raises(UsageError, match="is where this runs, and would be replaced"):
            write(tmp_path / "out")


def test_digests_depend_on_content(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text("{}", "utf-8")
    models = [digest_models([tmp_path]), digest_models([tmp_path, tmp_path])]
    series = origin_of(PatientScans("p", tmp_path, None), "", codes="index")["inputs"]
    (tmp_path / "recipe.json").write_text("{}", "utf-8")
    assert len({*models, digest_models([tmp_path])}) == 3
    assert origin_of(PatientScans("p", tmp_path, None), "", codes="index")["inputs"] != series
