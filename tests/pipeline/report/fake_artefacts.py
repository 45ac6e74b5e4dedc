"""A small, well-formed set of everything that the report reads: a patient of ellipsoids, made-up scores."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from crossmodalnet.imaging.nifti import write_image, write_label_map
from crossmodalnet.imaging.structures import ABBREVIATIONS
from crossmodalnet.io.outputs import write_json
from crossmodalnet.metrics.scores import METRICS
from pipeline.comparison.compare import compare, write_comparison
from pipeline.comparison.conditions import read_conditions
from pipeline.comparison.scores import runs_of
from pipeline.config.sections import CompareConfig
from pipeline.evaluation.profile import Profile, Spread
from pipeline.evaluation.score_cases import CASE_COLUMNS, MISREGISTRATION_COLUMNS
from pipeline.training.tuning import TrialResult
from tests.conftest import scan_patient
from tests.pipeline.report.fake_audit import make_audit

TEST_PAIRS = [f"ct_10{i:02d}+mr_10{i + 3:02d}" for i in range(1, 6)]
STREAMS = ("crossmodalnet-ct_only", "crossmodalnet-mr_only")
# What stage `audit` checks of networks other than ours: of the first of them something, of the others nothing.
OTHERS_GROUPS = ("balancing", "generalisation", "robustness")


def oblique(shape: tuple[int, int, int], spacing_mm: float) -> NDArray[np.float64]:
    """LPS voxel order, a little oblique, as patients come; the world's centre is in the middle."""
    angle = 0.08
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-spacing_mm, -spacing_mm, spacing_mm])
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) / 2)
    return affine


def make_artefacts(
    top: Path, *, shape=(44, 44, 40), spacing_mm=4.0, models=("crossmodalnet",), ablations=(), seeds=(0,)
) -> None:
    """Write the artefacts below `top`; the first five pairs are test pairs.

    CrossModalNet can do without a modality, and all networks of two modalities were displaced.
    """
    train, validation = ["ct_1011+mr_1011", "ct_1012+mr_1012"], ["ct_1013+mr_1013"]
    split = {"train": train, "validation": validation, "test": TEST_PAIRS}
    entries = {
        role: [dict(zip(("pair", "ct", "mr"), (pair, *pair.split("+")), strict=True)) for pair in pairs]
        for role, pairs in split.items()
    }
    write_json(top / "data/split.json", {**entries, "folds": 1, "fold": 0})
    (top / "params.yaml").write_text(
        f"models: [{', '.join(models)}]\nablations: [{', '.join(ablations)}]\n"
        f"seeds: [{', '.join(map(str, seeds))}]\ndata:\n  source: phantom # <b>where</b>\n"
    )
    _quality_control(top, split)
    affine = oblique(shape, spacing_mm)
    with_images = [*(f"{name}/seed{seeds[0]}" for name in models), "atlas"]
    for number, pair in enumerate(TEST_PAIRS):
        _images(top, pair, number, with_images, affine, shape)
    variants = tuple(f"crossmodalnet-{ablation}" for ablation in ablations)
    tables = {}
    for place, name in enumerate((*models, *variants, "atlas")):
        quality = 0.9 - 0.3 * (name == "atlas") - 0.011 * ((5 * place + 2) % 7)
        runs = {0: name} if name == "atlas" else {seed: f"{name}/seed{seed}" for seed in seeds}
        scores = [_scores(top, run, quality, 10 * place + s).assign(seed=s) for s, run in runs.items()]
        tables[name] = pd.concat(scores)
    for place, name in enumerate(models):
        for seed in seeds:
            _training(top, name, place, seed)
        for lr, dice in ((5e-4, 0.79), (1e-3, 0.8), (2e-3, 0.78)):
            write_json(top / f"tuning/{name}/{lr}.json", asdict(TrialResult(name, lr, dice, 10)))
        make_audit(top, name, None if name == "crossmodalnet" else OTHERS_GROUPS if place == 1 else ())
    for place, name in enumerate((*models, *variants)):
        _profile(top / f"profile/{name}.json", place if name in models else 0.6 - place)
    runs = runs_of(top / "evaluation", models, ablations, seeds)
    for place, (name, folders) in enumerate(runs.items()):
        for folder in folders.values() if name not in ("atlas", *STREAMS) else ():
            _misregistration(folder, place)
            if name == "crossmodalnet":
                _modalities(folder)
    found = compare(tables, models[0], CompareConfig(bootstrap_samples=100), conditions=read_conditions(runs))
    (top / "comparison").mkdir()
    write_comparison(top / "comparison", found)


def _images(top: Path, pair: str, number: int, runs: list[str], affine, shape) -> None:
    folder = top / f"data/registered/{pair}"
    for kind in ("mr", "ct"):
        image, truth = scan_patient(kind, affine, shape=shape)
        write_image(folder / f"{kind}.nii.gz", image)
    write_label_map(folder / "ct_label.nii.gz", truth)
    for place, run in enumerate(runs):
        shift = (1.0 + number, -1.0 - 3.0 * (run == "atlas"), 1.0 + place)
        predicted = scan_patient("ct", affine, shape=shape, shift_mm=shift, scale=0.97)[1]
        write_label_map(top / f"evaluation/{run}/predictions/{pair}.nii.gz", predicted)


def _scores(top: Path, run: str, quality: float, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng([7, seed])
    rows = []
    for number, pair in enumerate(TEST_PAIRS):
        for structure in ABBREVIATIONS:
            dice = float(np.clip(quality - 0.01 * number + rng.normal(0, 0.015), 0, 1))
            betti = int(10 * (1 - dice))
            known = {
                "dice": dice, "iou": dice / (2 - dice), "hd95_mm": 40 * (1 - dice), "assd_mm": 9 * (1 - dice),
                "nsd": min(1, dice + 0.03),
            }  # fmt: skip
            scores = [known.get(metric.key, betti) for metric in METRICS]
            missed = (number, structure) == (0, "PA")
            rows.append((pair, structure, *scores, missed, False, 0))
    cases = pd.DataFrame(rows, columns=CASE_COLUMNS)
    write_csv(top / f"evaluation/{run}/cases.csv", cases)
    write_json(top / f"metrics/{run}.json", {"missed": 1})
    return cases


def _profile(path: Path, place: float) -> None:
    step = 0.8 * 1.11**place
    profile = Profile(
        parameters=int(3e6 * 1.2**place), flops=int(2e10 * 1.2**place),
        step_seconds=Spread(step, step - 0.02, step + 0.04), step_ratio=Spread(4 * step, 3.9 * step, 4.2 * step),
        step_memory_mb=900.5 + 100 * place, inference_seconds=Spread(0.4, 0.38, 0.45),
        inference_ratio=Spread(3.0, 2.9, 3.2), inference_memory_mb=400.0, reference_seconds=0.25,
        reference_inference_seconds=0.13, repetitions=5, device="a processor", threads=2, batch_size=2,
        patch_size=(48, 48, 48), case_size=(48, 48, 48),
    )  # fmt: skip
    write_json(path, asdict(profile))


def _training(top: Path, name: str, place: int, seed: int) -> None:
    epochs = np.arange(1, 31)
    dice, ce = 0.9 * np.exp(-epochs / 8) + 0.1, 1.8 * np.exp(-epochs / 6) + 0.08
    validation = 0.88 - 0.01 * place - 0.7 * np.exp(-epochs / (7 + seed))
    curve = pd.DataFrame({
        "epoch": epochs, "loss": (dice + ce) / 2, "loss_dice": dice, "loss_ce": ce,
        "weight_dice": 0.5, "weight_ce": 0.5, "lr": 1e-3 / epochs,
        "val_dice": validation, "seconds": 6.0, "samples_per_second": 2.2, "peak_memory_mb": 1500.0,
    })  # fmt: skip
    write_csv(top / f"curves/{name}/seed{seed}.csv", curve)
    write_json(top / f"evaluation/{name}/seed{seed}/card.json", {
        "name": name, "builder": name, "seed": seed, "network": {"channels": 24}, "best_epoch": 27,
        "patch_size": [48, 48, 48], "spacing_mm": [3.5, 3.5, 3.5], "size": [48, 48, 48],
        "ct_window_hu": [-200.0, 600.0], "mr_percentiles": [0.5, 99.5],
        "train": {
            "budget": "epochs", "epochs": 30, "seconds": 240.0, "samples_per_case": 2, "batch_size": 2,
            "lr": 1e-3, "schedule": "cosine",
        },
        "losses": {"objectives": ["dice", "ce"], "balancing": "paper", "alpha": 0.5, "deep_supervision": True},
        "augment": {"enabled": True}, "versions": {"python": "3.11.2", "torch": "2.15.0"},
        "data_fingerprint": "0123456789abcdef", "training_pairs": ["a+b", "c+d"], "validation_pairs": ["e+f"],
    })  # fmt: skip


def _quality_control(top: Path, split: dict[str, list[str]]) -> None:
    pairs = [(pair, role) for role, members in split.items() for pair in members]
    table = pd.DataFrame(pairs, columns=["pair", "role"]).assign(
        initialisation="centre of mass", mi_before=0.21, mi_after=0.63, label_dice=0.8123,
        negative_jacobian_share=0.0004, largest_displacement_mm=17.32, inverse_error_mm=0.04,
        shared_view=0.87, seconds=11.2, warning="",
    )  # fmt: skip
    table.loc[table["role"] == "test", "label_dice"] = np.nan
    folder = top / "data/registration_qc"
    (folder / "checkerboards").mkdir(parents=True)
    write_csv(folder / "pairs.csv", table)
    squares = np.kron(np.indices((6, 18)).sum(axis=0) % 2, np.ones((40, 40)))
    for pair, _ in pairs:
        Image.fromarray((60 + 120 * squares).astype(np.uint8)).save(folder / f"checkerboards/{pair}.png")
    cut = {f"cut_{name}": 0 for name in ABBREVIATIONS}
    crop = table[["pair", "role"]].assign(box_mm="-50.0 -47.0 -51.0 : 53.0 45.0 64.0", overflow_mm=0.0, **cut)
    write_csv(top / "data/crop_qc.csv", crop)


def write_csv(path: Path, table: pd.DataFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)


def _misregistration(run: Path, place: int) -> None:
    """Write how the Dice of a run's pairs falls, from method to method faster."""
    dice = pd.read_csv(run / "cases.csv").groupby("pair")["dice"].mean()
    slope = 0.004 + 0.003 * ((3 * place + 1) % 5)
    rows = [
        (pair, shift, shift / 1.5, start - slope * shift * (1 + 0.02 * number))
        for number, (pair, start) in enumerate(dice.items())
        for shift in (0.0, 5.0, 10.0, 15.0)
    ]
    write_csv(run / "misregistration.csv", pd.DataFrame(rows, columns=list(MISREGISTRATION_COLUMNS)))


def _modalities(run: Path) -> None:
    """Write the scores of a run's pairs with one modality missing."""
    cases = pd.read_csv(run / "cases.csv")
    for view, change in {"ct_alone": -0.03, "mr_alone": -0.06}.items():
        dice = np.clip(cases["dice"] + change, 0, 1)
        table = cases.assign(dice=dice, iou=dice / (2 - dice), hd95_mm=cases["hd95_mm"] - 40 * change)
        write_csv(run / view / "cases.csv", table)
