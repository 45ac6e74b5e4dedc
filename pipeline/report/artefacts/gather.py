"""Reading the artefacts of the other stages into typed records; what is missing is named with its remedy."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from crossmodalnet.errors import DataError, UsageError
from crossmodalnet.imaging.structures import ABBREVIATIONS
from crossmodalnet.metrics.scores import METRICS
from pipeline.cohort.split_file import read_notes, read_split
from pipeline.config.params import load_section, read_raw
from pipeline.config.sections import AdaptSection, DataConfig
from pipeline.config.variants import ATLAS, OURS, method_of
from pipeline.evaluation.profile import read_profile
from pipeline.evaluation.score_cases import CASE_COLUMNS
from pipeline.preparation.domain import Domain, read_domain
from pipeline.report.artefacts.gather_adaptation import read_adaptation, read_source_case
from pipeline.report.artefacts.gather_audit import read_audit
from pipeline.report.artefacts.gather_comparison import (
    read_comparison,
    read_scores,
)
from pipeline.report.artefacts.recorded_rates import recorded_trials
from pipeline.report.artefacts.records import Artefacts
from pipeline.report.artefacts.results import ROWS, Estimate, Estimates, Result, TestCase, Training
from pipeline.runtime import paths
from pipeline.runtime.inputs import existing, read_object, read_table
from pipeline.training.tuning import read_trials

CURVE_COLUMNS = ("epoch", "loss", "lr", "val_dice")


def gather_run() -> Artefacts:
    """Read everything that the present params.yaml names, from the current folder.

    Raises:
        DataError: an artefact is missing or malformed; names it and the stage that makes it.
        UsageError: params.yaml is missing or malformed.
    """
    raw = read_raw()
    source = load_section(DataConfig, "data").source
    adapt = load_section(AdaptSection, "adapt")
    return gather(
        raw["models"],
        raw.get("ablations") or [],
        raw.get("seeds") or [0],
        source,
        adapt=adapt,
    )


def gather(
    models: Sequence[str],
    ablations: Sequence[str],
    seeds: Sequence[int],
    source: str,
    top: Path = Path(),
    *,
    adapt: AdaptSection | None = None,
) -> Artefacts:
    """Read everything the report shows.

    Where an adaptation is between modalities its source consists of single images: these are the cases then, and
    neither the atlas nor the ablations, which have others, are read.

    Args:
        models: model names as in params.yaml.
        ablations: ablations of CrossModalNet, as in params.yaml.
        seeds: seeds of the trainings of each, as in params.yaml.
        source: `data.source`.
        top: folder that `pipeline.runtime.paths` are relative to.
        adapt: section `adapt`; None as where it is off.

    Raises:
        DataError: an artefact is missing or malformed; names it and the stage that makes it.
        UsageError: there are ablations of a network that is not in `models`.
    """
    if ablations and OURS not in models:
        raise UsageError(f"{paths.PARAMS}: ablations are compared with {OURS}: add it to models")
    domain = _read_domain(top) if adapt and adapt.enabled else None
    images = domain.source if domain else None
    split = images or read_split(top / paths.SPLIT)
    ablations = () if images else ablations
    if not split["test"]:
        raise DataError(f"{top / paths.SPLIT} lists no test pair: raise split.test_fraction")
    registration = read_table(top / paths.REGISTRATION_QC / "pairs.csv", "register", ("pair", "role"))
    params = read_raw(top / paths.PARAMS)
    scores, variants = read_scores(top), [method_of(ablation) for ablation in ablations]
    return Artefacts(
        results=[
            _read_result(name, seeds, scores, split["test"], top)
            for name in (models if images else (*models, ATLAS))
        ],
        trainings=[_read_training(name, seeds, top) for name in models],
        ablations={key: _estimates(name, scores, top) for key, name in zip(ablations, variants, strict=True)},
        comparison=read_comparison(top),
        profiles={name: read_profile(name, top) for name in (*models, *variants)},
        trials={name: read_trials(name, top) or recorded_trials(name, params) for name in models},
        audits={name: read_audit(name, top) for name in models},
        cases={
            pair: read_source_case(pair, top) if images else _find_case(pair, top) for pair in split["test"]
        },
        registration=registration,
        checkerboards={str(pair): _find_checkerboard(str(pair), top) for pair in registration["pair"]},
        crop=read_table(top / paths.CROPPED.with_name("crop_qc.csv"), "crop", ("pair",)),
        split=split,
        source=source,
        params=existing(top / paths.PARAMS, "").read_text("utf-8"),
        adaptation=read_adaptation(domain, adapt.target.source, split, seeds, top)
        if domain and adapt
        else None,
        notes=read_notes(top / paths.SPLIT),
    )


def _read_domain(top: Path) -> Domain:
    """Read the record of the target domain, which an adaptation has."""
    domain = read_domain(top / paths.TARGET)
    if domain is None:
        raise DataError(f"{top / paths.TARGET} says that adaptation is off: run `dvc repro target`")
    return domain


def _read_result(
    name: str, seeds: Sequence[int], scores: pd.DataFrame, pairs: Sequence[str], top: Path
) -> Result:
    """Read scores, cases and predictions of one method; every test pair must be there for every seed."""
    stage = ATLAS if name == ATLAS else "evaluate"
    runs = [Path(name)] if name == ATLAS else [paths.of_run(Path(), name, seed) for seed in seeds]
    folders = [top / paths.EVALUATION / run for run in runs]
    cases = [_read_cases(folder / "cases.csv", stage, pairs) for folder in folders]
    predictions = {pair: existing(folders[0] / "predictions" / f"{pair}.nii.gz", stage) for pair in pairs}
    return Result(
        name,
        _estimates(name, scores, top),
        _average(cases),
        sum(int(table["missed"].sum()) for table in cases),
        sum(int(table["undefined"].sum()) for table in cases),
        predictions,
    )


def _read_cases(path: Path, stage: str, pairs: Sequence[str]) -> pd.DataFrame:
    cases = read_table(path, stage, CASE_COLUMNS)
    cases = cases[cases["structure"].isin(ABBREVIATIONS)]
    if absent := sorted(set(pairs) - set(cases["pair"])):
        raise DataError(f"{path} lacks test pairs {', '.join(absent)}: run `dvc repro {stage}`")
    return cases


def _average(runs: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Average the scores of every pair and structure over the seeds; undefined ones are left out."""
    keys = [metric.key for metric in METRICS]
    return pd.concat(runs).groupby(["pair", "structure"], sort=False)[keys].mean().reset_index()


def _estimates(name: str, scores: pd.DataFrame, top: Path) -> Estimates:
    """Take means and intervals of one method from comparison/scores.csv; no mean, no estimate."""
    rows = scores[scores["method"] == name]
    if rows.empty:
        path = top / paths.COMPARISON / "scores.csv"
        raise DataError(f"{path} has no rows of {name}: run `dvc repro --force compare`")
    shown = rows[rows["metric"].isin([metric.key for metric in METRICS]) & rows["structure"].isin(ROWS)]
    columns = ["metric", "structure", "mean", "low", "high"]
    return {
        (str(metric), str(structure)): _estimate(float(mean), float(low), float(high))
        for metric, structure, mean, low, high in shown[columns].itertuples(index=False)
        if np.isfinite(mean)
    }


def _estimate(mean: float, low: float, high: float) -> Estimate:
    return Estimate(mean, low, high) if np.isfinite([low, high]).all() else Estimate(mean, None, None)


def _read_training(name: str, seeds: Sequence[int], top: Path) -> Training:
    curves, cards = {}, {}
    for seed in seeds:
        path = paths.of_run(top / paths.CURVES, name, seed).with_suffix(".csv")
        curves[seed] = read_table(path, "train", CURVE_COLUMNS)
        cards[seed] = read_object(paths.of_run(top / paths.EVALUATION, name, seed) / "card.json", "evaluate")
    return Training(name, curves, cards)


def _find_case(pair: str, top: Path) -> TestCase:
    folder = top / paths.REGISTERED / pair
    ct, mr, truth = (existing(folder / f"{name}.nii.gz", "register") for name in ("ct", "mr", "ct_label"))
    return TestCase(pair, ct, mr, truth)


def _find_checkerboard(pair: str, top: Path) -> Path:
    return existing(top / paths.REGISTRATION_QC / "checkerboards" / f"{pair}.png", "register")
