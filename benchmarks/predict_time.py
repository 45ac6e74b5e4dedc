"""What a unit of work of each step of a prediction costs: the table `crossmodalnet.inference.cost.COSTS`.

    python -m benchmarks.predict_time MODEL CT MR

segments the pair at several sizes, with SyN at the spacing of the model's recipe and at a finer one and with two staged
methods, and fits the processor time of every step to the work that `cost.py` counts, in units of its probe. Processor
time, so that what else runs on the machine does not count.
"""

import argparse
import importlib
import os
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from scipy.optimize import nnls

from crossmodalnet.imaging.resample import resample
from crossmodalnet.imaging.structures import Modality
from crossmodalnet.imaging.volume import Grid, Volume
from crossmodalnet.inference import cost
from crossmodalnet.inference.predictor import Predictor
from crossmodalnet.inference.scans import as_volume
from crossmodalnet.registration.config import RegistrationConfig
from crossmodalnet.registration.staged import METHODS
from pipeline.prediction.origin import PatientScans, origin_of
from pipeline.prediction.write import write_prediction

# Voxels of CT and MR; None: as they are. The last is a pair of real size.
SIZES = (None, ((256, 256, 160), (192, 192, 96)), ((512, 512, 250), (288, 288, 160)))
FINER_MM = 3.0
NAMED = ("fast", "balanced")


def cpu_seconds() -> float:
    """Processor time of this process and of those that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def of_size(volume: Volume, shape: tuple[int, int, int]) -> Volume:
    """Sample a volume with so many voxels along its own axes."""
    own = np.array(volume.data.shape)
    order = np.argsort(np.argsort(-own, kind="stable"))
    counts = np.array(sorted(shape, reverse=True))[order]  # the longest axis keeps most
    affine = volume.affine.copy()
    affine[:3, :3] *= own / counts
    affine[:3, 3] = volume.grid.to_world(((own / counts - 1) / 2)[:, None])[:, 0]
    x, y, z = (int(n) for n in counts)
    return resample(volume, Grid((x, y, z), affine), "linear", float(volume.data.min()))


def measure(predictor: Predictor, ct: Volume, mr: Volume) -> dict[str, float]:
    """Segment and write, and give the processor time of every step."""
    marks: list[tuple[str, float]] = []
    found = predictor(ct=ct, mr=mr, progress=lambda step, left_s: marks.append((step, cpu_seconds())))
    marks.append((cost.WRITING, cpu_seconds()))
    scans = PatientScans("benchmark", Path("ct.nii.gz"), Path("mr.nii.gz"))
    with TemporaryDirectory() as folder:
        origin = origin_of(scans, "", codes="mmwhs", box=None)
        write_prediction(Path(folder), found, predictor.cards, origin=origin, at=scans, seconds=0.0)
    marks.append(("end", cpu_seconds()))
    return {step: after - before for (step, before), (_, after) in pairwise(marks)}


def probed() -> float:
    """Processor time of the probe, now."""
    return float(np.median([cost.probe(time.process_time) for _ in range(5)]))


def configs_of(predictor: Predictor) -> list[RegistrationConfig]:
    """Registrations to measure; the staged methods last."""
    syn = predictor._recipe.registration.model_copy(update={"method": "syn"})
    staged = [syn.model_copy(update={"method": name}) for name in NAMED]
    return [syn, syn.model_copy(update={"working_spacing_mm": FINER_MM}), *staged]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name, text in (("model", "folder of an exported model"), ("ct", "CT of a pair"), ("mr", "its MR")):
        parser.add_argument(name, type=Path, help=text)
    options = parser.parse_args()
    # The heart is then searched before the MR is registered, so that each step has its own time.
    torch.set_num_threads(1)
    began = cpu_seconds()
    importlib.import_module("ants")  # by the first patient of a process, when labels go back to the MR's grid
    import_s = cpu_seconds() - began
    ct, mr = as_volume(options.ct, Modality.CT), as_volume(options.mr, Modality.MR)
    rows: dict[str, list[tuple[dict[str, float], float]]] = {}
    predictor = Predictor.load(options.model)
    for size in SIZES:
        here, there = (ct, mr) if size is None else (of_size(ct, size[0]), of_size(mr, size[1]))
        for config in configs_of(predictor):
            recipe = replace(predictor._recipe, registration=config)
            one = Predictor(predictor._models, recipe, predictor._atlases)
            before = probed()
            seconds = measure(one, here, there)
            speed = (before + probed()) / 2
            task = cost.Task(here.grid, there.grid, recipe, len(predictor._atlases))
            seconds[cost.BACK] += import_s
            seconds[cost.NETWORK] -= cost.network_seconds(predictor._models, recipe, clock=time.process_time)
            for step, amounts in cost.work_of(task).items():
                staged = step == cost.REGISTRATION and config.method in METHODS
                row = (amounts, max(seconds[step], 0.01) / speed)
                rows.setdefault(cost.STAGED_REGISTRATION if staged else step, []).append(row)
            listed = ", ".join(f"{step} {value:.1f}" for step, value in seconds.items())
            name = f"syn at {config.working_spacing_mm} mm" if config.method == "syn" else config.method
            print(f"{here.data.shape} {there.data.shape}, {name}, probe {speed:.3f}: {listed}", flush=True)
    # Steps with an interpreter of their own share what it takes to start one.
    shared = [cost.SEARCH, cost.REGISTRATION]
    for steps in (shared, [cost.STAGED_REGISTRATION], [cost.NETWORK], [cost.BACK], [cost.WRITING]):
        report(steps, rows)


def report(steps: list[str], rows: dict[str, list[tuple[dict[str, float], float]]]) -> None:
    """Fit the costs of steps that share the cost of a start, and print them."""
    kinds = [(step, kind) for step in steps for kind in rows[step][0][0] if kind != "starts"]
    work = [
        [amounts.get("starts", 0.0), *(amounts[kind] if own == step else 0.0 for own, kind in kinds)]
        for step in steps
        for amounts, _ in rows[step]
    ]
    target = np.array([value for step in steps for _, value in rows[step]])
    # Relative errors count, so that small scans weigh as much as large ones.
    costs, _ = nnls(np.array(work) / target[:, None], np.ones(len(target)))
    off = np.abs(np.array(work) @ costs / target - 1).max()
    listed = [("each", "starts"), *kinds]
    fitted = ", ".join(
        f"{step} {kind} {value:.3g}" for (step, kind), value in zip(listed, costs, strict=True)
    )
    print(f"{fitted}; off by {off:.0%} at most")


if __name__ == "__main__":
    main()
