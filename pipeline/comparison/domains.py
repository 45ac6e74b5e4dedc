"""Scores of an adapted network, and of what it is compared with, in both of its domains."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.comparison.methods import Methods, check_methods, read_runs
from pipeline.config.variants import OURS, SOURCE_ONLY, SUPERVISED, method_of
from pipeline.runtime.paths import of_run

LOWER, UPPER = method_of(SOURCE_ONLY), method_of(SUPERVISED)
CASES = "cases.csv"
TARGET = "target"
STAGES = "evaluate evaluate-adaptation"


@dataclass(frozen=True)
class DomainScores:
    """Scores per case, seed and structure (columns of cases.csv, and the seed), by method.

    The adapted network is `crossmodalnet`. Order: source-only, the adapted network, what it is compared with,
    supervised training.

    Attributes:
        source: scores on the test cases of the domain that has labels.
        target: scores on the labelled test cases of the domain adapted to; empty where there are none.
    """

    source: Methods
    target: Methods

    @property
    def bounded(self) -> bool:
        """Whether the target was scored with both bounds: without adaptation, and trained on its labels."""
        return LOWER in self.target and UPPER in self.target


def read_domain_scores(evaluation: Path, variants: Sequence[str], seeds: Sequence[int]) -> DomainScores:
    """Read the cases of the adapted network and of its variants, every one with every seed.

    A target without labelled test cases is scored by no evaluation; one that only some evaluations scored is an
    error.

    Args:
        evaluation: folder with `<method>/seed<k>/cases.csv` and `<method>/seed<k>/target/cases.csv`.
        variants: `adaptations` of params.yaml.
        seeds: seeds of params.yaml.

    Raises:
        DataError: an evaluation is missing or malformed, or not of the cases of the others.
    """
    runs = {name: {seed: of_run(evaluation, name, seed) for seed in seeds} for name in _ordered(variants)}
    source = {name: read_runs(_cases(folders), STAGES) for name, folders in runs.items()}
    check_methods(source)
    if not any(
        (folder / TARGET / CASES).exists() for folders in runs.values() for folder in folders.values()
    ):
        return DomainScores(source, {})
    inner = {name: {seed: folder / TARGET for seed, folder in f.items()} for name, f in runs.items()}
    target = {name: read_runs(_cases(folders), STAGES) for name, folders in inner.items()}
    check_methods(target)
    return DomainScores(source, target)


def _cases(folders: Mapping[int, Path]) -> dict[int, Path]:
    return {seed: folder / CASES for seed, folder in folders.items()}


def _ordered(variants: Sequence[str]) -> list[str]:
    others = [method_of(variant) for variant in variants]
    parts = [name for name in others if name not in (LOWER, UPPER)]
    return [*([LOWER] if LOWER in others else []), OURS, *parts, *([UPPER] if UPPER in others else [])]
