"""What the comparison of methods says, as typed records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from crossmodalnet.metrics.statistics import Verdict


@dataclass(frozen=True)
class Difference:
    """Method a minus method b over the test pairs: a row of pairwise.csv.

    Attributes:
        mean: mean difference in the unit of the metric.
        low: lower end of its bootstrap interval; NaN where there is none, as `high`.
        high: upper end.
        p_value: p-value of the paired Wilcoxon test.
        p_holm: p-value after Holm's correction.
        effect_size: matched-pairs rank-biserial correlation.
        verdict: verdict that the test supports.
    """

    mean: float
    low: float
    high: float
    p_value: float
    p_holm: float
    effect_size: float
    verdict: Verdict

    def reversed(self) -> "Difference":
        """Give b minus a."""
        low, high = -self.high, -self.low
        return Difference(-self.mean, low, high, self.p_value, self.p_holm, -self.effect_size, self.verdict)


Differences = Mapping[tuple[str, str, str], Difference]


@dataclass(frozen=True)
class StatementRecord:
    """A sentence of the comparison.

    Attributes:
        metric: key of the metric; anything else where the sentence is about all metrics.
        text: text as printed.
        kind: first, not_first, supported, not_supported, underpowered, note.
        family: family of tests, `models` or `ablations`; empty where the sentence is about all methods.
    """

    metric: str
    text: str
    kind: str
    family: str = ""


@dataclass(frozen=True)
class MisregistrationRecord:
    """What networks lose where the MR lies wrongly.

    Attributes:
        table: misregistration.csv: method, moved_mm, turned_degrees, dice, low, high and more.
        losses: misregistration_losses.csv, least first: method, loss, low, high; no rows without a far shift.
        statements: statements in the order of misregistration_statements.json.
    """

    table: pd.DataFrame
    losses: pd.DataFrame
    statements: Sequence[StatementRecord]


@dataclass(frozen=True)
class ComparisonRecord:
    """What stage `compare` found.

    Attributes:
        differences: differences by metric key, method a and method b: pairwise.csv, in which the reference is compared
            with the others, and the ablated network with its ablations.
        all_pairs: differences of everyone against everyone by Dice, a family of tests of its own, by the same keys:
            all_pairs.csv.
        ranks: ranks.csv: metric, method, rank, low, high, share_first.
        statements: statements in the order of statements.json.
        misregistration: None where it was not measured.
        modalities: modalities.csv: method, view, metric, mean, low, high, difference and more; None where no network
            can do without a modality.
    """

    differences: Differences
    all_pairs: Differences
    ranks: pd.DataFrame
    statements: Sequence[StatementRecord]
    misregistration: MisregistrationRecord | None = None
    modalities: pd.DataFrame | None = None

    def difference(self, metric: str, a: str, b: str) -> Difference | None:
        """Look up a minus b in either order; None where the two were not compared."""
        if found := self.differences.get((metric, a, b)):
            return found
        found = self.differences.get((metric, b, a))
        return found.reversed() if found else None
