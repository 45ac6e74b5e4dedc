"""Costs of the networks: a Markdown table of size, time and memory, each network in its own process.

    python -m benchmarks.networks --networks crossmodalnet swin_unetr mednext:l --patch 96 96 96 --batch 1

Run it from the top of the repository: values without an option are those of params.yaml. Times are medians, with
ratios to the steps and cases of a small U-Net of MONAI, which are timed in turn with them. A network that cannot be
measured has the reason in its row.
"""

import argparse
from functools import partial

from crossmodalnet.errors import CrossModalNetError
from crossmodalnet.networks.common.device import find_device
from crossmodalnet.processes import run_alone
from pipeline.config.network import NETWORKS
from pipeline.config.params import load_section, validate
from pipeline.config.sections import EvaluateConfig, LossesConfig, ProfileConfig, TrainConfig
from pipeline.evaluation.profile import Profile
from pipeline.evaluation.workload import Workload, profile_network
from pipeline.training.params import read_params

HEAD = (
    "network", "size", "parameters, M", "GFLOPs", "step, s", "x reference", "step, MB", "case, s", "x reference",
    "case, MB",
)  # fmt: skip


def main() -> None:
    """Measure the networks that are asked for and print the table, row by row."""
    options = _parser().parse_args()
    print("| " + " | ".join(HEAD) + " |")
    print("|---|---|" + "---:|" * (len(HEAD) - 2))
    device = "unknown device"
    for entry in options.networks:
        name, _, size = entry.partition(":")
        row = [name, size or _size(name, options.size)]
        try:
            profile = measure(name, row[1], options)
        except CrossModalNetError as error:
            print(f"| {' | '.join(row)} | {' '.join(str(error).split())} |", flush=True)
            continue
        device = f"{profile.device}, {profile.threads} CPU threads"
        print(f"| {' | '.join([*row, *_cells(profile)])} |", flush=True)
    patch, case = (" x ".join(map(str, size)) for size in (options.patch, options.case or options.patch))
    print(f"\n{device}; batch {options.batch}, patches of {patch}, cases of {case} voxels.")


def measure(name: str, size: str, options: argparse.Namespace) -> Profile:
    """Profile one network at one of its sizes, in a process of its own.

    Raises:
        CrossModalNetError: it cannot be built or does not fit into memory.
    """
    rounds = ProfileConfig(repetitions=options.repetitions)
    work = make_work(name, size, options)
    # Not a function of this file: run as a program it is `__main__`, which the other process does not have.
    return run_alone(partial(profile_network, rounds=rounds), work)


def make_work(name: str, size: str, options: argparse.Namespace) -> Workload:
    """Give the work of a network at one of its named sizes; `-` where it has none.

    Raises:
        UsageError: no such network or size.
    """
    params = read_params(name)
    section = NETWORKS[name]
    chosen = params.network.model_dump() | ({} if size == "-" else {"size": size})
    network = validate(section, chosen, f"network.{name}")
    train = {"patch_size": tuple(options.patch), "batch_size": options.batch}
    return Workload(
        model=name,
        options=params.options | network.options(),
        train=load_section(TrainConfig, "train").model_copy(update=train),
        losses=load_section(LossesConfig, "losses"),
        case_size=tuple(options.case or options.patch),
        overlap=load_section(EvaluateConfig, "evaluate").overlap,
        device=find_device(options.device, "--device"),
        num_threads=options.threads,
        seed=0,
    )


def _size(name: str, size: str) -> str:
    return size if name in NETWORKS and "size" in NETWORKS[name].model_fields else "-"


def _cells(profile: Profile) -> list[str]:
    step, case = profile.step_seconds.median, profile.inference_seconds.median
    return [
        f"{profile.parameters / 1e6:.3f}",
        f"{profile.flops / 1e9:.2f}",
        f"{step:.3f}",
        f"{profile.step_ratio.median:.2f}",
        f"{profile.step_memory_mb:.0f}",
        f"{case:.3f}",
        f"{profile.inference_ratio.median:.2f}",
        f"{profile.inference_memory_mb:.0f}",
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), metavar="NAME[:SIZE]", help="default: all")
    parser.add_argument("--size", default="small", help="of networks that have named sizes")
    parser.add_argument("--patch", type=int, nargs=3, default=[40, 40, 40], help="voxels")
    parser.add_argument("--case", type=int, nargs=3, help="voxels of the segmented case; default: the patch")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--threads", type=int, default=0, help="of the CPU; 0: one per core")
    parser.add_argument("--repetitions", type=int, default=9)
    return parser


if __name__ == "__main__":
    main()
