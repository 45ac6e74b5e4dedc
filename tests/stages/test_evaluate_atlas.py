import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.intensity import Intensity
from crossmodalnet.imaging.nifti import read_label_map, write_label_map
from crossmodalnet.imaging.resample import resample
from crossmodalnet.imaging.samples import is_missing
from crossmodalnet.imaging.structures import ABBREVIATIONS, Modality
from crossmodalnet.imaging.volume import Grid, Volume
from pipeline.cohort.pairs import Pair, Role, Subject
from pipeline.cohort.split_file import write_split
from pipeline.config.sections import SplitConfig
from pipeline.evaluation import evaluate_cases
from pipeline.preparation.cases import CroppedCase, write_cropped
from pipeline.training import checkpoint as model_folder
from pipeline.training.checkpoint import candidate_file
from stages import atlas, evaluate

NATIVE = Grid((40, 36, 25), np.array([[-1.5, 0, 0, 30], [0, -1.5, 0, 27], [0, 0, 2, -25], [0, 0, 0, 1]]))
WORKING = Grid((20, 18, 16), np.array([[3.0, 0, 0, -29], [0, 3, 0, -26], [0, 0, 3, -24], [0, 0, 0, 1]]))


class FromBrightness(nn.Module):
    """Logits of a network that has learned that CT brightness is the class index over 10."""

    def forward(self, image: Tensor) -> Tensor:
        return torch.stack([-200 * (image[:, 0] - index / 10) ** 2 for index in range(8)], dim=1)


class FromEither(nn.Module):
    """Logits of a network for which CT brightness is the class over 10 and, without CT, MR brightness that over 7."""

    def forward(self, image: Tensor) -> Tensor:
        ct, mr = image[:, 0], image[:, 1]
        seen = torch.where(is_missing(image)[:, 0, None, None, None], 7 * mr, 10 * ct)
        return torch.stack([-2 * (seen - index) ** 2 for index in range(8)], dim=1)


class Background(nn.Module):
    """Logits of a network that sees no heart anywhere."""

    def forward(self, image: Tensor) -> Tensor:
        return torch.stack([50 * torch.ones_like(image[:, 0])] + 7 * [torch.zeros_like(image[:, 0])], dim=1)


def heart(grid: Grid, shift_mm: float = 0.0) -> Volume:
    """Seven slabs along x, 6 mm thick, all with 30 mm sides."""
    x, y, z = grid.to_world(np.indices(grid.shape).reshape(3, -1))
    index = np.floor((x - shift_mm + 21) / 6) + 1
    inside = (index >= 1) & (index <= 7) & (abs(y) < 15) & (abs(z) < 15)
    return Volume(np.where(inside, index, 0).astype(np.uint8).reshape(grid.shape), grid.affine)


def pair(number: int, role: Role) -> Pair:
    subjects = [Subject(f"{m.value}_{number}", m, Path("x"), Path("y")) for m in Modality]
    return Pair(subjects[0], subjects[1], role)


def card_of(**changes: Any) -> SimpleNamespace:
    """What the stage reads of a model card."""
    plain = {
        "patch_size": (16, 16, 16), "intensity": Intensity((0.0, 100.0), (0.0, 100.0)), "adaptation": None,
        "builder": "crossmodalnet", "network": {}, "train": {},
    }  # fmt: skip
    return SimpleNamespace(**plain | changes)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two test pairs and others, registered and cropped, and a model; gives the names of the test pairs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    Path("params.yaml").write_text("evaluate: {bootstrap_samples: 200, device: cpu}\n")
    Path("data").mkdir()
    pairs = [pair(1, "train"), pair(2, "validation"), pair(3, "test"), pair(4, "test")]
    write_split(Path("data/split.json"), pairs, SplitConfig())
    names = [p.name for p in pairs if p.role == "test"]
    for name in names:
        write_label_map(Path("data/registered", name, "ct_label.nii.gz"), heart(NATIVE))
        write_label_map(Path("data/registered", name, "mr_label.nii.gz"), heart(NATIVE, shift_mm=3))
        label = heart(WORKING)
        ct, mr = (Volume(label.data.astype(np.float32) * 10, WORKING.affine) for _ in range(2))
        Path("data/cropped").mkdir(exist_ok=True)
        write_cropped(Path("data/cropped", name), CroppedCase(name, ct, mr, label, NATIVE))
    Path("models/mine/seed0").mkdir(parents=True)
    Path("models/mine/seed0/card.json").write_text("{}", "utf-8")
    model = SimpleNamespace(network=FromBrightness(), card=card_of())
    monkeypatch.setattr(model_folder, "load_model", lambda folder: {Path("models/mine/seed0"): model}[folder])
    return names


def test_evaluate_writes_native_predictions_tables_and_metrics(project: list[str]) -> None:
    evaluate.main("mine")
    metrics = json.loads(Path("metrics/mine/seed0.json").read_text("utf-8"))
    assert metrics["dice"] > 0.8  # 6 mm slabs on 3 mm voxels, restored at 1.5 mm
    assert metrics["missed"] == 0
    for name in project:
        found = read_label_map(Path("evaluation/mine/seed0/predictions", f"{name}.nii.gz"))
        assert found.grid.same_as(NATIVE)
        nearest = resample(heart(WORKING), NATIVE, "nearest")
        assert (found.data == nearest.data).mean() > 0.95
    cases = pd.read_csv("evaluation/mine/seed0/cases.csv")
    assert sorted(set(cases["pair"])) == project
    assert {file.name for file in Path("evaluation").iterdir()} == {"mine"}


def test_evaluate_twice_gives_the_same_bytes(project: list[str]) -> None:
    contents = []
    for _ in range(2):
        evaluate.main("mine")
        files = sorted(p for top in ("evaluation", "metrics") for p in Path(top).rglob("*") if p.is_file())
        contents.append({file: file.read_bytes() for file in files})
    assert contents[0] == contents[1]
    assert len(contents[0]) == len(project) + 6


def test_an_evaluation_that_was_killed_goes_on_where_it_was_and_ends_the_same(
    project: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate.main("mine")
    files = sorted(p for top in ("evaluation", "metrics") for p in Path(top).rglob("*") if p.is_file())
    undisturbed = {file: file.read_bytes() for file in files}
    segmented: list[str] = []
    whole = evaluate_cases.predict_labels

    def killed_at_the_second(model: Any, case: CroppedCase, *others: Any) -> Volume:
        if len(segmented) == 1:
            raise KeyboardInterrupt
        segmented.append(case.name)
        return whole(model, case, *others)

    def noting(model: Any, case: CroppedCase, *others: Any) -> Volume:
        segmented.append(case.name)
        return whole(model, case, *others)

    monkeypatch.setattr(evaluate_cases, "predict_labels", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        evaluate.main("mine")
    monkeypatch.setattr(evaluate_cases, "predict_labels", noting)
    evaluate.main("mine")
    assert sorted(segmented) == project
    assert {file: file.read_bytes() for file in files} == undisturbed
    assert not list(Path(".work/evaluate").iterdir())


def test_a_model_that_knows_missing_modalities_is_scored_from_either_alone(
    project: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in project:  # the heart in the MR lies 3 mm aside, as its label does
        ct, mr = heart(WORKING), heart(WORKING, shift_mm=3)
        images = (Volume(v.data * 10.0 + add, v.affine) for v, add in ((ct, 0), (mr, 10)))
        write_cropped(Path("data/cropped", name), CroppedCase(name, *images, ct, NATIVE))
    model = SimpleNamespace(network=FromEither(), card=card_of(train={"modality_dropout": 0.3}))
    monkeypatch.setattr(model_folder, "load_model", lambda _: model)
    evaluate.main("mine")
    metrics = json.loads(Path("metrics/mine/seed0.json").read_text("utf-8"))
    assert metrics["ct_alone"] == metrics["dice"]
    assert metrics["mr_alone"] > 0.8  # against the CT's label it would be about 0.5
    folder = Path("evaluation/mine/seed0/mr_alone")
    assert {path.name for path in folder.iterdir()} == {
        "cases.csv", "intervals.csv", "bars.csv", "predictions",
    }  # fmt: skip
    found = read_label_map(folder / "predictions" / f"{project[0]}.nii.gz")
    nearest = resample(heart(WORKING, shift_mm=3), NATIVE, "nearest")
    assert (found.data == nearest.data).mean() > 0.95


@pytest.mark.parametrize(
    "changes",
    [
        {"train": {"modality_dropout": 0.0}},
        {"train": {"modality_dropout": 0.3}, "network": {"streams": "ct"}},
    ],
)
def test_others_are_not(project: list[str], monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]) -> None:
    model = SimpleNamespace(network=FromBrightness(), card=card_of(**changes))
    monkeypatch.setattr(model_folder, "load_model", lambda _: model)
    evaluate.main("mine")
    assert not {"ct_alone", "mr_alone"} & set(json.loads(Path("metrics/mine/seed0.json").read_text("utf-8")))


def test_dice_is_measured_against_misregistration(project: list[str]) -> None:
    evaluate.main("mine")
    table = pd.read_csv("evaluation/mine/seed0/misregistration.csv")
    assert table.groupby("pair")["moved_mm"].apply(list).to_dict() == {
        name: [0, 5, 10, 15] for name in project
    }
    assert (table["dice"] == 1).all()  # the network looks at CT alone


@pytest.mark.parametrize(("shifts", "streams"), [("[]", "both"), ("[0.0, 5.0]", "mr")])
def test_misregistration_is_not_measured_where_there_is_none_or_nothing_that_could_be_moved(
    project: list[str], monkeypatch: pytest.MonkeyPatch, shifts: str, streams: str
) -> None:
    text = f"evaluate: {{bootstrap_samples: 200, device: cpu, misregistration_mm: {shifts}}}\n"
    Path("params.yaml").write_text(text)
    model = SimpleNamespace(network=FromBrightness(), card=card_of(network={"streams": streams}))
    monkeypatch.setattr(model_folder, "load_model", lambda _: model)
    evaluate.main("mine")
    assert not Path("evaluation/mine/seed0/misregistration.csv").exists()


def test_an_mr_without_a_label_of_its_own_cannot_be_scored(
    project: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("data/registered", project[1], "mr_label.nii.gz").unlink()
    model = SimpleNamespace(network=FromEither(), card=card_of(train={"modality_dropout": 0.3}))
    monkeypatch.setattr(model_folder, "load_model", lambda _: model)
    with pytest.raises(DataError, match=rf"{re.escape(project[1])}: no label map of it is found"):
        evaluate.main("mine")


def test_atlas_scores_the_warped_mr_labels(project: list[str]) -> None:
    atlas.main()
    metrics = json.loads(Path("metrics/atlas.json").read_text("utf-8"))
    # 3 mm of 6 mm thick slabs overlap.
    assert {metrics[key] for key in ("dice", *ABBREVIATIONS)} == {0.5}
    assert (metrics["miou"], metrics["hd95_mm"]) == (0.3333, 3)
    warped = Path("data/registered", project[0], "mr_label.nii.gz")
    assert Path("evaluation/atlas/predictions", f"{project[0]}.nii.gz").read_bytes() == warped.read_bytes()


def test_atlas_stops_at_a_missing_label_map_and_leaves_nothing(project: list[str]) -> None:
    Path("data/registered", project[1], "mr_label.nii.gz").unlink()
    with pytest.raises(DataError, match="mr_label"):
        atlas.main()
    assert not Path("metrics/atlas.json").exists()
    assert not list(Path("evaluation").iterdir())


def test_an_adapted_model_is_scored_in_the_target_domain_too(
    project: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    label = heart(WORKING)
    ct = Volume(label.data.astype(np.float32) * 10, WORKING.affine)
    roles: dict[str, list[str]] = {"train": [], "validation": [], "test": ["mr_7", "mr_8"]}
    for name in roles["test"]:
        write_cropped(Path("data/target/target", name), CroppedCase(name, ct, None, None, NATIVE))
    write_label_map(Path("data/target_labels/mr_7/native.nii.gz"), heart(NATIVE))
    write_label_map(Path("data/target_labels/mr_7/label.nii.gz"), label)
    record = {"scenario": "cohort", "source": None, "target": roles}
    Path("data/target/domain.json").write_text(json.dumps(record))
    folder = Path("models/mine/seed0")
    folder.mkdir(parents=True, exist_ok=True)
    for epoch in (1, 4):
        candidate_file(folder, epoch).touch()
    card = card_of(adaptation={"variant": None}, best_epoch=4)
    networks = {"weights.safetensors": FromBrightness(), "epoch0001.safetensors": Background()}

    def load(folder: Path, weights: str = "weights.safetensors") -> SimpleNamespace:
        return SimpleNamespace(network=networks.get(weights, networks["weights.safetensors"]), card=card)

    monkeypatch.setattr(model_folder, "load_model", load)
    monkeypatch.setattr("pipeline.evaluation.evaluate_cases.load_model", load)
    evaluate.main("mine")
    metrics = json.loads(Path("metrics/mine/seed0.json").read_text("utf-8"))
    assert metrics["dice"] > 0.8
    assert metrics["target_dice"] > 0.8
    cases = pd.read_csv("evaluation/mine/seed0/target/cases.csv")
    assert set(cases["pair"]) == {"mr_7"}  # the other one has no label
    choices = pd.read_csv("evaluation/mine/seed0/target/choices.csv")
    assert choices["epoch"].tolist() == [1, 4]
    assert choices["chosen"].tolist() == [False, True]
    assert choices["target_dice"].tolist() == pytest.approx([0, 1])
