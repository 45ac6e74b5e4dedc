"""Comparison of networks: ranks, tests, one policy, learning rates, costs, and the literature."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from crossmodalnet.metrics.scores import METRICS
from crossmodalnet.networks.common.build import DEEPLY_SUPERVISED
from pipeline.comparison.titles import short_title_of, title_of
from pipeline.config.params import read_raw
from pipeline.config.variants import OURS, is_ablation
from pipeline.evaluation.profile import Profile, read_profile
from pipeline.report import tables
from pipeline.report.artefacts import Artefacts
from pipeline.report.charts import OBJECTIVES, colour_of, marker_of, point_legend, svg, whisker
from pipeline.report.sections.results import result_groups
from pipeline.report.tables import DASH, MEAN_TITLES, Table, interval, make_table, signed
from pipeline.runtime import paths
from pipeline.runtime.inputs import read_objects, read_table
from pipeline.runtime.work import fingerprint
from pipeline.training.tuning import TrialResult, read_trials

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
    rest = [s for s in statements if s not in standings]
    by_metric = {MEAN_TITLES.get(m.key, m.title): [s for s in rest if s["metric"] == m.key] for m in METRICS}
    tests = read_compared(artefacts, "pairwise.csv", TEST_COLUMNS)
    all_pairs = test_tables(read_compared(artefacts, "all_pairs.csv", TEST_COLUMNS))
    everyone = {f"Everyone against everyone, {title}": table for title, table in all_pairs.items()}
    return {
        "groups": result_groups(artefacts)[:1],
        "standings": sorted(standings, key=is_general),
        "ranks": "" if ranks.empty else rank_chart(artefacts, ranks),
        "by_metric": {title: group for title, group in by_metric.items() if group},
        "main": list(MEAN_TITLES.values()),
        "differences": test_tables(tests[~tests["method_b"].map(is_ablation)]) | everyone,
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


def read_compared(artefacts: Artefacts, name: str, columns: Sequence[str], *, optional: bool = False) -> pd.DataFrame:
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
            for own in rows.to_dict("records"):
                name = own["method"]
                y, colour, marker = methods.index(name), colour_of(models, name), marker_of(models, name)
                axes.plot([own["low"], own["high"]], [y, y], color=colour, lw=2.4, solid_capstyle="round")
                axes.plot(own["rank"], y, marker, color=colour, ms=9, mec="white", mew=0.6)
            axes.set(title=title, xlim=(0.6, len(methods) + 0.4), xlabel="rank (1 is best)")
            axes.set_xticks(range(1, len(methods) + 1))
            axes.grid(False, axis="y")
        panels[0].set_yticks(range(len(methods)), [short_title_of(name) for name in methods])
        panels[0].set_ylim(len(methods) - 0.4, -0.6)

    return svg(draw, (10, 1.1 + 0.32 * len(methods)))


# Rates that stage `tune` tried before a preset was published, so that a comparison need not spend that hour again.
# They count only where nothing but the rate and the budget differs from their trials: each row has a digest of these
# settings, which `python -m tools.recorded_rates` takes from the presets.
FILE = Path(__file__).with_name("recorded_rates.csv")
SECTIONS = ("data", "register", "crop", "split", "augment", "losses")
FREE = ("lr", "budget", "epochs", "seconds", "validate_every", "devices", "num_threads", "checkpoint_every")
FEWEST_TRIALS = 3


def rate_table(artefacts: Artefacts) -> dict[str, Any]:
    """List rates by network, with a warning for every one that is not the best of at least three tried."""
    params = read_raw(artefacts.top / paths.PARAMS)
    rows, warnings, untuned = [], [], []
    for name in artefacts.models:
        used, title = float(artefacts.card(name)["train"]["lr"]), title_of(name)
        trials = read_trials(name, artefacts.top) or recorded_trials(name, params)
        is_best, finding = judge(used, trials)
        source = " (recorded)" if any(trial.recorded for trial in trials) else ""
        rows.append({
            "Network": title,
            "Rate used": f"{used:g}",
            "Tried (validation Dice)": ", ".join(f"{t.lr:g} ({t.validation_dice:.3f})" for t in trials) or DASH,
            "Epochs of a trial": ", ".join(map(str, sorted({trial.epochs for trial in trials}))) or DASH,
            "Finding": finding + source,
        })  # fmt: skip
        if not trials:
            untuned.append(title)
        elif not is_best:
            warnings.append(f"{title} runs at {used:g}: {finding}.")
    table = make_table(rows, text=("Tried (validation Dice)", "Finding"))
    return {"rates": table, "rate_warnings": warnings, "untuned": untuned}


def judge(used: float, trials: Sequence[TrialResult]) -> tuple[bool, str]:
    """Tell whether the rate that a network ran at is the best of at least three tried, and say so in a few words."""
    if not trials:
        return False, "not tuned"
    own = [trial for trial in trials if math.isclose(trial.lr, used, rel_tol=1e-9)]
    best = max(trials, key=lambda trial: trial.validation_dice)
    if not own:
        return False, f"not one of those tried, of which {best.lr:g} was best"
    if own[0].validation_dice < best.validation_dice:
        return False, f"not the best tried, {best.lr:g} was better"
    if len(trials) < FEWEST_TRIALS:
        return False, f"best of {len(trials)} tried, fewer than {FEWEST_TRIALS}"
    rates = [trial.lr for trial in trials]
    edge = {min(rates): ", the lowest", max(rates): ", the highest"}.get(own[0].lr, "")
    return True, f"best of {len(trials)} tried{edge}"


def recorded_trials(name: str, params: Mapping[str, Any]) -> list[TrialResult]:
    """Look up the trials recorded for a network under the settings of this run, lowest rate first."""
    rates = pd.read_csv(FILE)
    rows = rates[(rates["model"] == name) & (rates["settings"] == settings_digest(name, params))]
    columns = rows.sort_values("lr")[["lr", "validation_dice", "epochs"]].to_numpy()
    return [TrialResult(name, lr, dice, int(epochs), recorded=True) for lr, dice, epochs in columns]


def settings_digest(name: str, params: Mapping[str, Any]) -> str:
    """Digest what a recorded rate of a network holds for: all but the rate, the budget and how it is computed."""
    network = dict(params.get("network", {}).get(name) or {})
    network.pop("lr", None)
    train = {key: value for key, value in (params.get("train") or {}).items() if key not in FREE}
    return fingerprint({**{key: params.get(key) for key in SECTIONS}, "network": network, "train": train})


def costs_section(artefacts: Artefacts) -> dict[str, Any] | None:
    """Compare costs; None where there is one network only, or one that was not measured."""
    if len(artefacts.models) < 2:
        return None
    read = {name: read_profile(name, artefacts.top) for name in artefacts.models}
    profiles = {name: own for name, own in read.items() if own}
    if len(profiles) < len(read):
        return None
    return {
        "table": make_table([{"Network": title_of(name), **_row(own)} for name, own in profiles.items()]),
        "settings": list(dict.fromkeys(_setting(own) for own in profiles.values())),
        "chart_source": cost_chart(artefacts, profiles),
    }


def _row(profile: Profile) -> dict[str, str]:
    spreads = (profile.step_seconds, profile.inference_seconds)
    step, inference = (f"{s.median:.3g} ({s.low:.3g} to {s.high:.3g})" for s in spreads)
    return {
        "Parameters, M": f"{profile.parameters / 1e6:.2f}",
        "GFLOPs": f"{profile.flops / 1e9:.1f}",
        "Step, s": step,
        "Step, × U-Net": f"{profile.step_ratio.median:.2f}",
        "Step memory, MB": f"{profile.step_memory_mb:,.0f}",
        "Inference, s": inference,
        "Inference memory, MB": f"{profile.inference_memory_mb:,.0f}",
    }


def _setting(profile: Profile) -> str:
    size = " × ".join(map(str, profile.patch_size))
    threads = f"{profile.threads} {'thread' if profile.threads == 1 else 'threads'}"
    return f"{profile.device}, {threads}, batches of {profile.batch_size} patches of {size} voxels"


def cost_chart(artefacts: Artefacts, profiles: dict[str, Profile]) -> str:
    """Draw mean Dice with its interval against the time of a training step, relative to the reference network."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for name, profile in profiles.items():
            (dice, *ends), ratio = artefacts.score(name, "dice"), profile.step_ratio
            colour, marker = colour_of(artefacts.models, name), marker_of(artefacts.models, name)
            around = whisker(ratio.median, ratio.low, ratio.high)
            axes.errorbar(ratio.median, dice, whisker(dice, *ends), around, color=colour, lw=0.9, capsize=2)
            axes.plot(ratio.median, dice, marker, color=colour, ms=9, mec="white", mew=0.6)
        label = "training step, times that of the reference U-Net"
        axes.set(xlim=(0, None), xlabel=label, ylabel="mean Dice")
        point_legend(figure, artefacts.models)

    return svg(draw, (10, 3.8))
