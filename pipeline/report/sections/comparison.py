"""Comparison of networks: who is first, ranks, what the tests support, and one policy for all; and the literature."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from crossmodalnet.metrics.scores import METRICS
from crossmodalnet.networks.common.build import DEEPLY_SUPERVISED
from pipeline.comparison.titles import short_title_of, title_of
from pipeline.config.variants import OURS, is_ablation
from pipeline.report import tables
from pipeline.report.artefacts import Artefacts
from pipeline.report.charts import OBJECTIVES, colour_of, marker_of, svg
from pipeline.report.sections.rates import rate_table
from pipeline.report.sections.results import result_groups
from pipeline.report.tables import MEAN_TITLES, Table, interval, signed
from pipeline.runtime import paths
from pipeline.runtime.inputs import read_objects, read_table

TEST_COLUMNS = (
    "metric", "method_a", "method_b", "difference", "low", "high", "p_value", "p_holm", "effect_size", "verdict",
)  # fmt: skip
# What the cards of all networks must share, but for the learning rates.
COMMON = (
    "train", "losses", "augment", "patch_size", "spacing_mm", "size", "ct_window_hu", "mr_percentiles",
    "data_fingerprint", "training_pairs", "validation_pairs",
)  # fmt: skip
OWN = ["train.lr", "train.offset_lr_factor"]


def section(artefacts: Artefacts) -> dict[str, Any] | None:
    """Compare the networks; None where there is one only."""
    if len(artefacts.models) < 2:
        return None
    ranks = read_compared(artefacts, "ranks.csv", ("metric", "method", "rank", "low", "high"))
    statements = [s for s in read_statements(artefacts) if s.get("family") != "ablations"]
    standings = [s for s in statements if _is_standing(s)]
    by_metric = {
        MEAN_TITLES.get(metric.key, metric.title): [
            s for s in statements if s["metric"] == metric.key and s not in standings
        ]
        for metric in METRICS
    }
    tests = read_compared(artefacts, "pairwise.csv", TEST_COLUMNS)
    everyone = test_tables(read_compared(artefacts, "all_pairs.csv", TEST_COLUMNS))
    return {
        "groups": result_groups(artefacts)[:1],
        "standings": sorted(standings, key=is_general),
        "ranks": "" if ranks.empty else rank_chart(artefacts, ranks),
        "by_metric": {title: group for title, group in by_metric.items() if group},
        "main": list(MEAN_TITLES.values()),
        "differences": {
            **test_tables(tests[~tests["method_b"].map(is_ablation)]),
            **{f"Everyone against everyone, {title}": table for title, table in everyone.items()},
        },
        "card": artefacts.card(artefacts.models[0]),
        "objectives": OBJECTIVES,
        "has_ours": OURS in artefacts.models,
        "deeply_supervised": [title_of(n) for n in artefacts.models if n in DEEPLY_SUPERVISED - {OURS}],
        "enumerate": tables.enumerate_words,
        "departures": departures(artefacts.cards),
        **rate_table(artefacts),
    }


def literature_section(artefacts: Artefacts) -> dict[str, Any] | None:
    """Print the figures of others, beside a comparison; every row has a source."""
    if len(artefacts.models) < 2:
        return None
    return {"table": tables.frame_table(pd.read_csv(Path(__file__).with_name("literature.csv")))}


def read_compared(
    artefacts: Artefacts, name: str, columns: Sequence[str], *, optional: bool = False
) -> pd.DataFrame:
    """Read a table of stage `compare`; without rows where it is optional and missing."""
    path = artefacts.top / paths.COMPARISON / name
    if optional and not path.exists():
        return pd.DataFrame(columns=list(columns))
    return read_table(path, "compare", columns, may_be_empty=True)


def read_statements(artefacts: Artefacts, name: str = "statements.json") -> list[dict[str, str]]:
    """Read sentences of stage `compare`: metric, text, kind and, where one is about tests, their family."""
    return read_objects(artefacts.top / paths.COMPARISON / name, "compare", ("metric", "text", "kind"))


def is_general(statement: Mapping[str, str]) -> bool:
    """Tell whether a statement is about no measure in particular."""
    return statement["metric"] not in [metric.key for metric in METRICS]


def _is_standing(statement: Mapping[str, str]) -> bool:
    """Tell what belongs on top: who is first by the paper's measures, and what holds for all tests."""
    if statement["kind"] in ("first", "not_first"):
        return statement["metric"] in MEAN_TITLES
    return is_general(statement)


def test_tables(tests: pd.DataFrame) -> dict[str, Table]:
    """Print tests, a table per metric, by its heading."""
    printed = {}
    for metric in METRICS:
        rows = [
            {
                "Method a": title_of(row["method_a"]),
                "Method b": title_of(row["method_b"]),
                "a − b": signed(row["difference"], metric.digits),
                "95 % interval": interval(row["low"], row["high"], metric.digits, sign=True),
                "p (Wilcoxon)": f"{row['p_value']:.3g}",
                "p (Holm)": f"{row['p_holm']:.3g}",
                "Effect size": signed(row["effect_size"], 2),
                "Verdict": row["verdict"].replace("_", " "),
            }
            for row in tests[tests["metric"] == metric.key].to_dict("records")
        ]
        if rows:
            title = f"{tables.metric_title(metric)} ({'above' if metric.higher_is_better else 'below'} 0: a is better)"
            printed[title] = tables.make_table(rows, text=("Method b", "Verdict"))
    return printed


def departures(cards: Mapping[tuple[str, int], Mapping[str, Any]]) -> list[str]:
    """List the settings that are not the same on all cards, with their values; there should be none."""
    flat = pd.DataFrame(
        [dict(tables.flatten({key: card.get(key) for key in COMMON})) for card in cards.values()],
        index=[title_of(model) for model, _ in cards],
    ).fillna("absent")
    differing = []
    for key in flat.columns.difference(OWN, sort=False):
        values = flat[key].map(lambda text: text if len(text) <= 40 else f"{text[:37]}...")
        users = {text: ", ".join(own.index.unique()) for text, own in values.groupby(values, sort=False)}
        if len(users) > 1:
            differing.append(f"{key} ({'; '.join(f'{text}: {names}' for text, names in users.items())})")
    return differing


def rank_chart(artefacts: Artefacts, ranks: pd.DataFrame) -> str:
    """Draw the rank of every method as a dot on its 95 % interval, a panel per metric, a row per method."""
    methods, models = artefacts.methods, artefacts.models

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(MEAN_TITLES), sharey=True)
        for axes, (key, title) in zip(panels, MEAN_TITLES.items(), strict=True):
            rows = ranks[(ranks["metric"] == key) & ranks["method"].isin(methods)]
            for name, own in rows.set_index("method").iterrows():
                y, colour = methods.index(str(name)), colour_of(models, str(name))
                axes.plot([own["low"], own["high"]], [y, y], color=colour, lw=2.4, solid_capstyle="round")
                marker = marker_of(models, str(name))
                axes.plot(own["rank"], y, marker, color=colour, ms=9, mec="white", mew=0.6)
            axes.set(title=title, xlim=(0.6, len(methods) + 0.4), xlabel="rank (1 is best)")
            axes.set_xticks(range(1, len(methods) + 1))
            axes.grid(True, axis="x")
        panels[0].set_yticks(range(len(methods)), [short_title_of(name) for name in methods])
        panels[0].set_ylim(len(methods) - 0.4, -0.6)

    return svg(draw, (10, 1.1 + 0.32 * len(methods)))
