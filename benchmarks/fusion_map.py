"""When does fusion pay, and which? Networks on phantom cohorts that differ in contrast, registration and training.

    python -m benchmarks.fusion_map run FOLDER --processes 2
    python -m benchmarks.fusion_map report FOLDER

Run both from the top of the repository. `run` prepares the cohorts, trains and scores; what is done is skipped, so it
can be stopped at any time. Every network is tested with its MR in place, displaced by 5, 10 and 15 mm, and laid on the
CT by the centres of mass alone, on the working grid. `report` prints the tables and draws FOLDER/map.png.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from crossmodalnet.io.outputs import whole_file
from crossmodalnet.metrics.overlap import mean_dice
from crossmodalnet.metrics.statistics import bootstrap_interval, compare_paired, holm
from pipeline.cohort.split_file import read_split
from pipeline.config import presets
from pipeline.config.params import Params, load_section, validate
from pipeline.config.render import render
from pipeline.config.sections import EvaluateConfig
from pipeline.evaluation.misregistration import amounts, misregister
from pipeline.evaluation.prediction import network_input, predict_input
from pipeline.preparation.cases import CaseSet
from pipeline.training.checkpoint import load_model

CONTRASTS = {"native": "ungated", "enhanced": "enhanced"}
CENTRES = "centres"
REGISTRATIONS = {"deformable": "SyN", "affine": "Affine", CENTRES: "Centres"}
IN_PLACE, DISPLACED = "in place", "displaced"  # the MRs in training
LATE = "late fusion"
OURS = "CrossModalNet"
ALONE = ("CT alone", "MR alone")
PRINTED = {"swin": True, "cross": True, "align": False, "depths": [0, 2]}


class Method(NamedTuple):
    """A network, its options other than those of the preset, and epochs that take equal time.

    On one quiet core, a step takes 0.54 s (ours), 0.42 (two streams), 0.52 (with cross attention), 0.33 (one modality),
    0.46 (resenc_unet), 0.64 (mednext), 0.57 (swin_unetr). The newest ones are not measured.
    """

    model: str
    options: Mapping[str, Any]
    epochs: int
    in_place: bool = False  # train with MRs in place, too


METHODS: Mapping[str, Method] = {
    ALONE[0]: Method("crossmodalnet", {"streams": "ct", "align": False}, 30),
    ALONE[1]: Method("crossmodalnet", {"streams": "mr", "align": False}, 30),
    OURS: Method("crossmodalnet", {}, 18),
    "two streams": Method("crossmodalnet", {"align": False}, 24, True),
    "early fusion": Method("resenc_unet", {}, 22, True),
    "cross attention as printed": Method("crossmodalnet", PRINTED, 19),
    "usual cross attention": Method(
        "crossmodalnet", PRINTED | {"values": "a", "refines": "queries", "offsets": "predicted"}, 19, True
    ),
    "Swin streams": Method("crossmodalnet", PRINTED | {"cross": False}, 21),
    "MedNeXt": Method("mednext", {}, 16),
    "MedNeXt-v2": Method("mednext", {"size": "small_v2"}, 16),
    "Swin UNETR": Method("swin_unetr", {}, 18),
    "Swin UNETR-V2": Method("swin_unetr", {"size": "small_v2"}, 18),
    "PrimusV2": Method("primus", {}, 18),
}
# Trained with every seed on the native CTs; the others with the first.
DECIDING = (OURS, "two streams", "early fusion")
# Trained on the enhanced CTs.
FEW = (*ALONE, *DECIDING, "usual cross attention")
SAMPLES = 2000
STAGES = ("download", "check", "split", "register", "crop")


class Run(NamedTuple):
    """A network to train and score."""

    contrast: str
    registration: str
    training: str
    method: str
    seed: int

    def folder(self, top: Path) -> Path:
        """Return the folder of the run; the CT alone does not depend on the registration."""
        registration = "deformable" if self.method == "CT alone" else self.registration
        name = f"{self.method} {self.training} {self.seed}".replace(" ", "_")
        return cohort_folder(top, self.contrast, registration) / name


def cohort_folder(top: Path, contrast: str, registration: str) -> Path:
    """Return the folder of a cohort."""
    return top / f"{contrast}-{registration}"


def list_runs(seeds: Sequence[int], contrast: str, registration: str) -> Iterator[Run]:
    """List the trainings of a cohort, those with displaced MRs first."""
    native = contrast == "native"
    for training, (name, method), seed in product((DISPLACED, IN_PLACE), METHODS.items(), seeds):
        own_training = IN_PLACE if name in ALONE else DISPLACED
        wanted = training == own_training or (method.in_place and native)
        every_seed = native and name in DECIDING and training == DISPLACED
        if wanted and (native or name in FEW) and (every_seed or seed == seeds[0]):
            yield Run(contrast, registration, training, name, seed)


def list_late(seeds: Sequence[int], contrast: str, registration: str) -> Iterator[Run]:
    """List the means of the networks of one modality."""
    for seed in seeds[:1]:
        yield Run(contrast, registration, IN_PLACE, LATE, seed)


def prepare(top: Path, contrast: str, registration: str) -> None:
    """Make a cohort of the preset `fusion` and prepare it up to the crops, unless that was done."""
    folder = cohort_folder(top, contrast, registration)
    if (folder / "data/cropped").is_dir():
        return
    fusion = presets.load("fusion").model_dump()
    fusion["data"]["phantom"]["scanner"] = CONTRASTS[contrast]
    fusion["register"]["transform"] = REGISTRATIONS[registration]
    _write_params(folder, fusion)
    for stage in STAGES:
        _stage(folder, stage)


def train_and_score(top: Path, run: Run) -> None:
    """Train a network of a run and write its scores, unless that was done."""
    folder = run.folder(top)
    if (folder / "scores.csv").is_file():
        return
    method = METHODS[run.method]
    params = presets.load("fusion").model_dump()
    params["network"][method.model] |= method.options
    if run.training == IN_PLACE:
        params["augment"]["misregistration_probability"] = 0.0
    params["train"] |= {"epochs": method.epochs, "validate_every": 6, "num_threads": 1, "devices": 1}
    _write_params(folder, params)
    if not (folder / "data").is_symlink():
        (folder / "data").symlink_to("../data")
    _stage(folder, "train", "--model", method.model, "--seed", str(run.seed))
    _write_scores(top, run, [folder])


def score_late(top: Path, run: Run) -> None:
    """Score the mean of the networks of one modality."""
    run.folder(top).mkdir(exist_ok=True)
    _write_scores(top, run, [run._replace(method=method).folder(top) for method in ALONE])


def _write_scores(top: Path, run: Run, members: Sequence[Path]) -> None:
    params = load_section(EvaluateConfig, "evaluate", path=members[0] / "params.yaml")
    near = score(members, cohort_folder(top, run.contrast, run.registration) / "data", params)
    params = params.model_copy(update={"misregistration_mm": (0.0,)})
    far = score(members, cohort_folder(top, run.contrast, CENTRES) / "data", params).assign(place=CENTRES)
    with whole_file(run.folder(top) / "scores.csv") as temporary:
        pd.concat([near, far]).to_csv(temporary, index=False)


def score(members: Sequence[Path], data: Path, params: EvaluateConfig) -> pd.DataFrame:
    """Score the mean probabilities of trained networks on the test pairs: case, moved_mm, mean Dice and place."""
    models = [load_model(next((member / "models").glob("*/seed*"))) for member in members]
    rows = []
    for name in read_split(data / "split.json")["test"]:
        case = CaseSet(data / "cropped").read(name)
        assert case.label is not None
        for moved_mm, degrees in amounts(params):
            found = []
            for model in models:
                image = network_input(case, model.card.intensity)
                moved = misregister(image, name, moved_mm / case.grid.spacing_mm[0], degrees, params.seed)
                found.append(predict_input(model, moved, name, params))
            mean = torch.stack(found).mean(dim=0)
            rows.append((name, moved_mm, mean_dice(mean.argmax(0), torch.from_numpy(case.label.data), len(mean), [])))
    scores = pd.DataFrame(rows, columns=["case", "moved_mm", "dice"])
    return scores.assign(place=[f"{moved:.0f} mm" for moved in scores["moved_mm"]])


def _write_params(folder: Path, values: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(render(validate(Params, values, "")), "utf-8")


def _stage(folder: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "stages", *arguments]
    with (folder / "log.txt").open("a") as log:
        path = {"PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"}
        subprocess.run(command, cwd=folder, env=os.environ | path, stdout=log, stderr=log, check=True)


def read_scores(top: Path, seeds: Sequence[int]) -> pd.DataFrame:
    """Read the scores that are there: contrast, registration, training, method, seed, case, moved_mm, dice, place."""
    found = []
    cohorts = product(CONTRASTS, REGISTRATIONS)
    for run in (run for cohort in cohorts for listed in (list_runs, list_late) for run in listed(seeds, *cohort)):
        if (file := run.folder(top) / "scores.csv").is_file():
            columns = ("contrast", "registration", "training", "method", "seed")
            found.append(pd.read_csv(file).assign(**{name: getattr(run, name) for name in columns}))
    return pd.concat(found, ignore_index=True)


def tabulate(scores: pd.DataFrame) -> pd.DataFrame:
    """Compare every network with ours in the same cohort and place; Holm over all tests."""
    scores = scores[(scores["place"] == "0 mm") | (scores["method"] != ALONE[1])]  # the MR's own label would move
    keys = ["contrast", "registration", "place", "training", "method"]
    cases = scores.groupby([*keys, "case", "seed"], sort=False)["dice"].mean()
    rows = []
    for cohort, own in cases.groupby(level=keys[:3], sort=False):
        if OURS not in own.index.get_level_values("method"):  # still to be trained
            continue
        ours = own.xs(OURS, level="method").groupby("case").mean()
        for network, of_method in own.groupby(level=keys[3:], sort=False):
            values = of_method.unstack("seed").to_numpy()
            mean = bootstrap_interval(values, num_samples=SAMPLES, seed=0)
            other = of_method.groupby("case").mean().reindex(ours.index)
            gain = compare_paired(ours.to_numpy(), other.to_numpy(), num_samples=SAMPLES, seed=0)
            rows.append((
                *_keys(cohort), *_keys(network), values.shape[1], *mean[:3],
                *((np.nan,) * 4 if OURS in _keys(network) else gain[:4]),
            ))  # fmt: skip
    columns = [*keys, "seeds", "dice", "low", "high", "gain", "gain_low", "gain_high", "p"]
    table = pd.DataFrame(rows, columns=columns)
    tested = table["p"].notna()
    table.loc[tested, "p"] = holm(table.loc[tested, "p"].tolist())
    return table


def draw(scores: pd.DataFrame, path: Path) -> None:
    """Draw the Dice against the displacement: a panel per cohort, a colour per network, dashed if trained in place."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    contrasts = list(dict.fromkeys(scores["contrast"]))
    figure, axes = plt.subplots(
        len(contrasts),
        len(REGISTRATIONS),
        sharex=True,
        sharey=True,
        figsize=(9, 1 + 3 * len(contrasts)),
        layout="constrained",
        squeeze=False,
    )
    colours = dict(zip((*METHODS, LATE), matplotlib.colormaps["tab20"](range(20)), strict=False))
    for (contrast, registration), axis in zip(product(contrasts, REGISTRATIONS), axes.flat, strict=True):
        axis.set_title(f"{contrast} CT, {registration} registration", fontsize=9)
        of_cohort = scores[(scores["contrast"] == contrast) & (scores["registration"] == registration)]
        for network, own in of_cohort.groupby(["training", "method"]):
            training, method = _keys(network)
            own = own.assign(moved_mm=own["moved_mm"].mask(own["place"] == CENTRES, 20.0))
            line = own.groupby("moved_mm")["dice"].mean()
            style = {"color": colours[method], "linestyle": "--" if training == IN_PLACE else "-"}
            if method in ALONE:
                axis.axhline(line.iloc[0], linewidth=1, **style)
            else:
                axis.plot(line.index, line, marker=".", **style)
        axis.set_xticks([0, 5, 10, 15, 20], ["0", "5", "10", "15", CENTRES])
        axis.grid(alpha=0.3)
    for name in dict.fromkeys(scores["method"]):
        axes.flat[0].plot([], [], color=colours[name], label=name)
    figure.supxlabel(
        "displacement of the MR, mm, or laid by the centres of mass (dashed: trained in place)", fontsize=10
    )
    figure.supylabel("Dice", fontsize=10)
    figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    figure.savefig(path, dpi=110, bbox_inches="tight")


def markdown(table: pd.DataFrame) -> Iterator[str]:
    """Yield the table in Markdown, a section per cohort; below each Dice, how much better ours is, and Holm's p."""
    for cohort, own in table.groupby(["contrast", "registration"], sort=False):
        contrast, registration = _keys(cohort)
        places = list(dict.fromkeys(own["place"]))
        yield f"\n{contrast.capitalize()} CT, {registration} registration; the MR displaced, or laid by its centre:\n"
        yield "| network | MRs in training | seeds |" + "".join(f" {place} |" for place in places)
        yield "|---|---|---:|" + "---:|" * len(places)
        for network, rows in own.groupby(["method", "training", "seeds"], sort=False):
            cells = rows.set_index("place")
            found = (_cell(cells.loc[place]) if place in cells.index else "" for place in places)
            yield "| " + " | ".join([*map(str, _keys(network)), *found]) + " |"


def _cell(row: pd.Series) -> str:
    if row["method"] == OURS:
        return "{dice:.3f} [{low:.3f}, {high:.3f}]".format_map(row)
    sure = "p < 0.001" if row["p"] < 0.001 else f"p = {row['p']:.3f}" if row["p"] <= 0.05 else "not supported"
    return "{dice:.3f}; {gain:+.3f} [{gain_low:+.3f}, {gain_high:+.3f}], ".format_map(row) + sure


def _keys(group: Any) -> tuple[str, ...]:
    return tuple(group)


def main() -> None:
    """Run or report the map."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("step", choices=["run", "report"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--processes", type=int, default=1, help="trainings at once, one thread each")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    top = options.folder.resolve()
    if options.step == "run":
        torch.set_num_threads(1)
        for contrast, registration in product(CONTRASTS, REGISTRATIONS):
            prepare(top, contrast, registration)
        for cohort in product(CONTRASTS, REGISTRATIONS):
            with ThreadPoolExecutor(options.processes) as pool:
                list(pool.map(partial(train_and_score, top), list_runs(options.seeds, *cohort)))
                list(pool.map(partial(score_late, top), list_late(options.seeds, *cohort)))
        return
    scores = read_scores(top, options.seeds)
    print("\n".join(markdown(tabulate(scores))))
    draw(scores, top / "map.png")


if __name__ == "__main__":
    main()
