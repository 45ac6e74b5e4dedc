"""How methods are called in files and parameters; what they are called in print: `comparison/titles.py`."""

ATLAS = "atlas"
OURS = "crossmodalnet"
# What an adaptation is compared with, as `adaptations` of params.yaml lists them.
ADAPTATION_KEYS = (
    "source_only", "supervised", "no_appearance", "no_marginal", "no_conditional", "no_output", "no_self_training",
    "no_topology", "marginal_only", "kernel", "volumes", "betti",
)  # fmt: skip


def method_of(variant: str) -> str:
    """Give the folder name of the runs of an ablation, or of what an adaptation is compared with."""
    return f"{OURS}-{variant}"


def is_adaptation(name: str) -> bool:
    """Tell whether a method is what an adaptation is compared with."""
    return name.removeprefix(f"{OURS}-") in ADAPTATION_KEYS and name.startswith(f"{OURS}-")


def is_ablation(name: str) -> bool:
    """Tell whether a method is an ablation of our network."""
    return name.startswith(f"{OURS}-") and not is_adaptation(name)
