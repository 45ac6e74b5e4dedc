"""An adaptation of the first model of made-up artefacts: a target domain, evaluations in both, the comparison."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from crossmodalnet.imaging.nifti import write_label_map
from crossmodalnet.imaging.structures import ABBREVIATIONS
from crossmodalnet.metrics.scores import METRICS
from pipeline.comparison.adaptation import compare_adaptation, read_domain_scores
from pipeline.comparison.compare import compare, write_comparison
from pipeline.comparison.scores import read_methods, runs_of
from pipeline.config.sections import CompareConfig
from pipeline.evaluation.score_cases import CASE_COLUMNS
from pipeline.preparation.cases import CroppedCase, write_cropped
from pipeline.preparation.domain import Domain, Scenario, write_domain
from tests.conftest import scan_patient
from tests.pipeline.report.fake_artefacts import TEST_PAIRS, oblique, write_csv

VARIANTS = ("source_only", "supervised", "no_output")
# Dice on source and target, by variant.
DICE = {"": (0.85, 0.7), "-source_only": (0.86, 0.5), "-supervised": (0.4, 0.9), "-no_output": (0.85, 0.6)}
SOURCE_IMAGES = ("ct_1001", "ct_1002")


def make_adaptation(top: Path, scenario: Scenario, seeds: tuple[int, ...]) -> None:
    """Add an adaptation to the artefacts that `make_artefacts` left below `top`."""
    with (top / "params.yaml").open("a") as params:
        params.write(f"adapt: {{enabled: true, scenario: {scenario}}}\nreport: {{panel_px: 64}}\n")
    single = scenario != "cohort"
    names = [f"mr_{n}" if single else f"ct_{n}+mr_{n}" for n in (2001, 2002, 2003)]
    roles = {"train": ["ct_1003"], "validation": ["ct_1004"], "test": list(SOURCE_IMAGES)}
    images = roles if single else None
    roles = {"train": ["t1", "t2"], "validation": ["t3"], "test": names}
    (top / "data/target").mkdir(parents=True)
    write_domain(top / "data/target", Domain(scenario, images, roles))
    shape = (24, 24, 22)
    picture, label = scan_patient("ct", oblique(shape, 8.0), shape=shape)
    grid = picture.grid
    for name in names:
        case = CroppedCase(name, None if single else picture, picture, None, grid)
        write_cropped(top / "data/target/target" / name, case)
        write_label_map(top / f"data/target_labels/{name}/native.nii.gz", label)
    for name in SOURCE_IMAGES if single else ():
        write_cropped(top / "data/target/source" / name, CroppedCase(name, picture, None, label, grid))
    for variant, (source, target) in DICE.items():
        for seed in seeds:
            run = top / f"evaluation/crossmodalnet{variant}/seed{seed}"
            if single or variant:
                _cases(run, SOURCE_IMAGES if single else TEST_PAIRS, source)
            _cases(run / "target", names, target)
            dice = np.array([0.5, 0.6, 0.7]) + 0.1 * (seed > 0)
            choices = {"epoch": [10, 20, 30], "chosen": [False, True, False], "target_dice": dice}
            write_csv(run / "target/choices.csv", pd.DataFrame(choices))
            for folder, cases in ((run, SOURCE_IMAGES if single else ()), (run / "target", names)):
                for name in cases:
                    write_label_map(folder / f"predictions/{name}.nii.gz", label)
    for seed in seeds:
        _training(top, seed)
    params = CompareConfig(bootstrap_samples=100)
    if single:
        runs = runs_of(top / "evaluation", ["crossmodalnet"], [], seeds, atlas=False)
        write_comparison(top / "comparison", compare(read_methods(runs), "crossmodalnet", params))
    scores = read_domain_scores(top / "evaluation", VARIANTS, seeds)
    compare_adaptation(scores, params).write(top / "comparison")


def _cases(folder: Path, names: tuple[str, ...] | list[str], dice: float) -> None:
    """Write scores that rise by 0.01 from case to case."""
    rows = []
    for number, name in enumerate(names):
        known = {"dice": dice + 0.01 * number, "hd95_mm": 20 * (1 - dice)}
        scores = [known.get(metric.key, 0.5) for metric in METRICS]
        rows += [(name, structure, *scores, 0, 0, 0) for structure in ABBREVIATIONS]
    write_csv(folder / "cases.csv", pd.DataFrame(rows, columns=list(CASE_COLUMNS)))


def _training(top: Path, seed: int) -> None:
    path = top / f"curves/crossmodalnet/seed{seed}.csv"
    terms = {"loss_marginal": 0.7, "loss_topology": 0.1, "weight_marginal": 1.0, "weight_topology": 1.0}
    figures = {"marginal_accuracy": 0.6, "prototype_distance": 0.4, "target_entropy": 0.2}
    write_csv(path, pd.read_csv(path).assign(**terms, **figures))
    path = top / f"evaluation/crossmodalnet/seed{seed}/card.json"
    card = json.loads(path.read_text("utf-8"))
    terms = {"marginal": 1.0, "output": 0.0, "topology": 0.5}
    card["adaptation"] = {"variant": None, "scenario": "cohort", **terms}
    path.write_text(json.dumps(card))
