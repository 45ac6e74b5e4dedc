"""What a step of training with JADA costs beside one without, turn by turn in one process.

    python -m benchmarks.adaptation [STEPS]

With the parameters of params.yaml, on random images, with one thread and one sample of each domain: what each process
of a training on a CPU does. Prints the median seconds and their ratio, for JADA as a whole and without each term.
"""

import statistics
import sys
import time
from collections.abc import Callable

import torch

from crossmodalnet.data.dataset import Batch
from crossmodalnet.labels import NUM_CLASSES
from crossmodalnet.networks.build import build_network
from pipeline.adaptation_objective import AdaptationObjective
from pipeline.distributed import Processes
from pipeline.extra_objective import ExtraObjective
from pipeline.learner import Learner
from pipeline.params.adapt import AdaptParams
from pipeline.params.base import load_section
from pipeline.train_model import ModelParams, read_params

ALONE = Processes(0, 1, 1, torch.device("cpu"))
WARMUP = 2


def make_learner(params: ModelParams, adapt: AdaptParams | None) -> Learner:
    """Build the default network, to be trained with or without adaptation."""
    torch.manual_seed(0)
    network = build_network(
        params.builder, params.options, patch_size=params.train.patch_size, num_classes=NUM_CLASSES
    )
    extra: Callable[[torch.nn.Module], ExtraObjective] = (
        ExtraObjective if adapt is None else lambda network: AdaptationObjective(network, adapt)
    )
    return Learner(network, params.losses, params.train, ALONE, extra)


def make_batch(params: ModelParams, seed: int) -> Batch:
    """Draw a batch of one random sample."""
    random = torch.Generator().manual_seed(seed)
    size = params.train.patch_size
    label = torch.randint(0, NUM_CLASSES, (1, *(n // 4 for n in size)), generator=random)
    for axis in (1, 2, 3):
        label = label.repeat_interleave(4, axis)
    return Batch(("random",), torch.rand(1, 2, *size, generator=random), label)


def main() -> None:
    """Measure and print."""
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    torch.set_num_threads(1)
    params, adapt = read_params("crossmodalnet"), load_section(AdaptParams, "adapt")
    kinds: dict[str, AdaptParams | None] = {"without": None, "JADA": adapt}
    for term in adapt.settings().active():
        kinds[f"JADA without {term}"] = adapt.model_copy(update={term: 0.0})
    learners = {name: make_learner(params, kind) for name, kind in kinds.items()}
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    for number in range(WARMUP + steps):
        source, target = make_batch(params, 2 * number), make_batch(params, 2 * number + 1)
        for name, learner in learners.items():
            torch.manual_seed(number)
            start = time.perf_counter()
            unlabelled = target if learner.wants_target(1.0) else None
            learner.step(source, 1e-3, number, "the benchmark", target=unlabelled, progress=1.0)
            if number >= WARMUP:
                seconds[name].append(time.perf_counter() - start)
    reference = seconds["without"]
    for name, times in seconds.items():
        # Rare parts (spanning trees) are in the mean of the ratios, not in a median.
        ratio = statistics.mean(times) / statistics.mean(reference)
        print(f"{name:28} {statistics.median(times):.3f} s median, {ratio:.2f} x the mean of without")


if __name__ == "__main__":
    main()
