"""Read what all sections of the report share; a section reads the files that it alone shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from crossmodalnet.errors import DataError, UsageError
from crossmodalnet.imaging.structures import ABBREVIATIONS
from crossmodalnet.metrics.scores import METRICS
from pipeline.cohort.pairs import Role
from pipeline.cohort.split_file import SplitNotes, read_notes, read_split
from pipeline.comparison.titles import title_of
from pipeline.config.params import load_section, read_raw
from pipeline.config.sections import AdaptSection, DataConfig, ReportConfig
from pipeline.config.variants import ATLAS, OURS, method_of
from pipeline.evaluation.score_cases import CASE_COLUMNS, MEAN
from pipeline.preparation.domain import SOURCE_CASES, WORKING, Domain, read_domain
from pipeline.runtime import paths
from pipeline.runtime.inputs import existing, read_object, read_table
from pipeline.training.curves import unlearned

ROWS = (*ABBREVIATIONS, MEAN)


@dataclass(frozen=True, eq=False)
class Artefacts:
    """All that the sections share; models, ablations and seeds are in the order of params.yaml."""

    top: Path  # folder that `pipeline.runtime.paths` are relative to
    models: Sequence[str]
    ablations: Sequence[str]
    seeds: Sequence[int]
    source: str  # `data.source`
    options: ReportConfig
    adapt: AdaptSection
    domain: Domain | None  # target domain of an adaptation
    split: Mapping[Role, Sequence[str]]  # names of the pairs, or of single images, by role
    notes: SplitNotes
    scores: pd.DataFrame  # mean, low and high by method, metric and structure or `mean`; NaN where undefined
    # Method, pair, structure; metrics averaged over the seeds, missed and undefined summed.
    cases: pd.DataFrame
    predictions: Mapping[str, Mapping[str, Path]]  # label maps of the first seed by method and pair
    images: Mapping[str, Mapping[str, Path]]  # `ct`, `mr` or both, and `truth` of every test case
    curves: Mapping[tuple[str, int], pd.DataFrame]  # by model and seed
    cards: Mapping[tuple[str, int], Mapping[str, Any]]  # by model and seed

    @property
    def single(self) -> bool:
        """Whether cases are single images, which have no atlas, registration or crop."""
        return self.domain is not None and self.domain.source is not None

    @property
    def methods(self) -> list[str]:
        """Models, and the atlas baseline where there is one."""
        return [*self.models, *([] if self.single else [ATLAS])]

    @property
    def num_pairs(self) -> int:
        """Number of pairs in all roles."""
        return sum(len(pairs) for pairs in self.split.values())

    @property
    def unlearned(self) -> list[str]:
        """List the trainings whose loss hardly fell, with the reason."""
        problems = {f"{title_of(model)}, seed {seed}": unlearned(c) for (model, seed), c in self.curves.items()}
        return [f"{name}: {problem}" for name, problem in problems.items() if problem]

    def score(self, method: str, key: str, structure: str = MEAN) -> tuple[float, float, float]:
        """Look up mean, low and high of a metric; NaN where undefined."""
        mean, low, high = self.scores.xs((method, key, structure)).to_numpy(float)
        return float(mean), float(low), float(high)

    def case_means(self, key: str) -> pd.DataFrame:
        """Average a metric over the defined structures: a row per test case, a column per method."""
        return self.cases.groupby(["pair", "method"])[key].mean().unstack("method")

    def card(self, model: str) -> Mapping[str, Any]:
        """Give the model card of the first seed."""
        return self.cards[model, self.seeds[0]]


def gather(top: Path = Path()) -> Artefacts:
    """Read what the sections share, of the run below `top` that params.yaml describes.

    Where an adaptation is between modalities, the cases are the single images of its source. Neither the atlas nor the
    ablations, which have other cases, are read then.

    Raises:
        DataError: an artefact is missing or malformed; names it and the stage that makes it.
        UsageError: params.yaml is malformed, or there are ablations of a network that is not in `models`.
    """
    params = top / paths.PARAMS
    raw = read_raw(params)
    models, ablations, seeds = raw["models"], raw.get("ablations") or [], raw.get("seeds") or [0]
    if ablations and OURS not in models:
        raise UsageError(f"{params}: ablations are compared with {OURS}: add it to models")
    adapt = load_section(AdaptSection, "adapt", path=params)
    domain = read_domain(top / paths.TARGET) if adapt.enabled else None
    if adapt.enabled and domain is None:
        raise DataError(f"{top / paths.TARGET} says that adaptation is off: run `dvc repro target`")
    images = domain.source if domain else None
    split, ablations = images or read_split(top / paths.SPLIT), [] if images else ablations
    if not split["test"]:
        raise DataError(f"{top / paths.SPLIT} lists no test pair: raise split.test_fraction")
    evaluation = top / paths.EVALUATION
    runs = {(name, seed): paths.of_run(Path(), name, seed) for name in models for seed in seeds}
    folders = {name: [evaluation / runs[name, seed] for seed in seeds] for name in models}
    folders |= {} if images else {ATLAS: [evaluation / ATLAS]}
    curves = {key: (top / paths.CURVES / run).with_suffix(".csv") for key, run in runs.items()}
    return Artefacts(
        top,
        models,
        ablations,
        seeds,
        load_section(DataConfig, "data", path=params).source,
        load_section(ReportConfig, "report", path=params),
        adapt,
        domain,
        split,
        read_notes(top / paths.SPLIT),
        _read_scores(top / paths.COMPARISON / "scores.csv", [*folders, *map(method_of, ablations)]),
        pd.concat(_read_cases(name, own, split["test"]) for name, own in folders.items()),
        {name: _find_predictions(name, own[0], split["test"]) for name, own in folders.items()},
        {pair: _find_image(pair, top) if images else _find_pair(pair, top) for pair in split["test"]},
        {key: read_table(path, "train", ("epoch", "loss", "lr", "val_dice")) for key, path in curves.items()},
        {key: read_object(evaluation / run / "card.json", "evaluate") for key, run in runs.items()},
    )


def find_cropped(folder: Path) -> dict[str, Path]:
    """Find the images of a case of stage `target`: `ct`, `mr` or both, as its record says."""
    names = read_object(folder / "crop.json", "target").get("files", ("ct", "mr"))
    return {name: existing(folder / f"{name}.nii.gz", "target") for name in ("ct", "mr") if name in names}


def _read_scores(path: Path, methods: Sequence[str]) -> pd.DataFrame:
    table = read_table(path, "compare", ("method", "structure", "metric", "mean", "low", "high"))
    if absent := [name for name in methods if name not in set(table["method"])]:
        raise DataError(f"{path} has no rows of {', '.join(absent)}: run `dvc repro --force compare`")
    index = pd.MultiIndex.from_product([methods, [metric.key for metric in METRICS], ROWS])
    return table.set_index(["method", "metric", "structure"])[["mean", "low", "high"]].reindex(index)


def _stage(method: str) -> str:
    return ATLAS if method == ATLAS else "evaluate"


def _read_cases(method: str, folders: Sequence[Path], pairs: Sequence[str]) -> pd.DataFrame:
    """Read the scores of every seed and average them; undefined ones are left out of the means."""
    tables = []
    for path in (folder / "cases.csv" for folder in folders):
        table = read_table(path, _stage(method), CASE_COLUMNS)
        if absent := sorted(set(pairs) - set(table["pair"])):
            raise DataError(f"{path} lacks test pairs {', '.join(absent)}: run `dvc repro {_stage(method)}`")
        tables.append(table[table["structure"].isin(ABBREVIATIONS)])
    functions = {**{metric.key: "mean" for metric in METRICS}, "missed": "sum", "undefined": "sum"}
    cases = pd.concat(tables).groupby(["pair", "structure"], sort=False).agg(functions).reset_index()
    return cases.assign(method=method)


def _find_predictions(method: str, folder: Path, pairs: Sequence[str]) -> dict[str, Path]:
    return {pair: existing(folder / f"predictions/{pair}.nii.gz", _stage(method)) for pair in pairs}


def _find_pair(pair: str, top: Path) -> dict[str, Path]:
    files = {"ct": "ct", "mr": "mr", "truth": "ct_label"}
    folder = top / paths.REGISTERED / pair
    return {key: existing(folder / f"{name}.nii.gz", "register") for key, name in files.items()}


def _find_image(name: str, top: Path) -> dict[str, Path]:
    folder = top / paths.TARGET / SOURCE_CASES / name
    return {**find_cropped(folder), "truth": existing(folder / WORKING, "target")}
