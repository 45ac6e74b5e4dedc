"""Time of a training step with JADA beside one without, in turn in one process.

    python -m benchmarks.adaptation [STEPS]

With the parameters of params.yaml, on random images, with one thread and a batch of each domain: what a training on a
CPU does, from `adapt.start` on. Prints mean seconds and their ratio, for JADA as a whole, without
each term, and with target samples in every step.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable

import torch

from crossmodalnet.imaging.samples import Batch
from crossmodalnet.imaging.structures import NUM_CLASSES
from crossmodalnet.networks.common.build import build_network
from crossmodalnet.training.adaptation.topology import TopologyTerm
from pipeline.config.params import load_section
from pipeline.config.sections import AdaptSection
from pipeline.training.learner import Learner
from pipeline.training.objectives import AdaptationObjective, Objective, TargetBatch
from pipeline.training.params import ModelParams, read_params
from pipeline.training.processes import Processes

ALONE = Processes(0, 1, 1, torch.device("cpu"))
TURNS = 2  # of `adapt.every` steps, before those that are timed


def make_learner(params: ModelParams, adapt: AdaptSection | None) -> Learner:
    """Build the default network, to be trained with or without adaptation."""
    torch.manual_seed(0)
    network = build_network(params.builder, params.options, patch_size=params.train.patch_size, num_classes=NUM_CLASSES)
    extra: Callable[[torch.nn.Module], Objective] = (
        Objective if adapt is None else lambda network: AdaptationObjective(network, adapt)
    )
    return Learner(network, params.losses, params.train, ALONE, extra)


def make_batch(params: ModelParams, seed: int) -> Batch:
    """Draw a batch of random samples."""
    random = torch.Generator().manual_seed(seed)
    size, number = params.train.patch_size, params.train.batch_size
    label = torch.randint(0, NUM_CLASSES, (number, *(n // 4 for n in size)), generator=random)
    for axis in (1, 2, 3):
        label = label.repeat_interleave(4, axis)
    return Batch(("random",) * number, torch.rand(number, 2, *size, generator=random), label)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("steps", type=int, nargs="?", default=12, help="timed steps, at least")
    steps = parser.parse_args().steps
    torch.set_num_threads(1)
    params, adapt = read_params("crossmodalnet"), load_section(AdaptSection, "adapt")
    kinds: dict[str, AdaptSection | None] = {"without": None, "JADA": adapt}
    for term in (name for name, strength in adapt.strengths().items() if strength):
        kinds[f"JADA without {term}"] = adapt.model_copy(update={term: 0.0})
    kinds["JADA in every step"] = adapt.model_copy(update={"every": 1})
    learners = {name: make_learner(params, kind) for name, kind in kinds.items()}
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    # Whole turns, since what is rare (target samples, spanning trees) must have its share in the mean.
    whole = adapt.every * TopologyTerm.every
    warmup, timed = TURNS * adapt.every, whole * math.ceil(steps / whole)
    for number in range(warmup + timed):
        source, target = make_batch(params, 2 * number), make_batch(params, 2 * number + 1)
        for name, learner in learners.items():
            torch.manual_seed(number)
            start = time.perf_counter()
            batch_number = learner.target_batch_number(number, 1.0)
            seen = None if batch_number is None else TargetBatch(target.image, batch_number)
            learner.step(source, 1e-3, number, "the benchmark", target=seen, progress=1.0)
            if number >= warmup:
                seconds[name].append(time.perf_counter() - start)
    reference = seconds["without"]
    for name, times in seconds.items():
        mean = statistics.mean(times)
        print(f"{name:28} {mean:.3f} s, {mean / statistics.mean(reference):.2f} x without")


if __name__ == "__main__":
    main()
