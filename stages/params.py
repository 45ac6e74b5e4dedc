"""`crossmodalnet params`: show, explain and set the parameters."""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pipeline.config.params import Params

logger = logging.getLogger(__name__)

app = typer.Typer(help="Show, explain and set the parameters in params.yaml.", no_args_is_help=True)


@app.command()
def show() -> None:
    """Check params.yaml and show the values that differ from the defaults."""
    from pipeline.config.params import Params, read_raw, validate
    from pipeline.config.render import keys, to_yaml

    default = {key.name: key.value for key in keys(Params())}
    params = validate(Params, read_raw(), "")
    changed = [key for key in keys(params) if key.value != default.get(key.name)]
    _table(
        "params.yaml against the defaults" if changed else "params.yaml holds the defaults",
        ["key", "value", "default"],
        [[key.name, to_yaml(key.value), to_yaml(default.get(key.name))] for key in changed],
    )
    _warn(params)


@app.command()
def explain(key: Annotated[str, typer.Argument(help="key or section, for instance train; default: all")] = "") -> None:
    """Explain keys: meaning, allowed values and default."""
    from crossmodalnet.errors import UsageError, did_you_mean
    from pipeline.config.params import Params
    from pipeline.config.render import keys, to_yaml

    known = {k.name: k for k in keys(Params())}
    rows = [k for name, k in known.items() if not key or name == key or name.startswith(f"{key}.")]
    # Without its section, as in `lr` for `train.lr`.
    general_first = sorted(known.values(), key=lambda k: k.name.count("."))
    rows = rows or [k for k in general_first if f".{key}." in f".{k.name}."]
    words = key.rpartition(".")[2].replace("_", " ")
    rows = rows or [k for k in general_first if words in k.description]
    if not rows:
        hint = did_you_mean(key.rpartition(".")[2], [name.rpartition(".")[2] for name in known])
        raise UsageError(f"no key {key!r}; {hint}`crossmodalnet params explain` lists all")
    _table(
        "", ["key", "meaning", "allowed", "default"], [[k.name, k.description, k.kind, to_yaml(k.value)] for k in rows]
    )


@app.command()
def use(
    preset: Annotated[
        str, typer.Argument(help="default, quick, smoke, compare, fusion, adapt, ct_to_mr, mr_to_ct, mmwhs or paper")
    ],
) -> None:
    """Write a preset into params.yaml and show the changes; your data (`data`, `adapt.target`) are kept."""
    from crossmodalnet.errors import UsageError
    from pipeline.config import presets
    from pipeline.config.params import Params, read_raw, validate
    from pipeline.config.render import keys, render, to_yaml
    from pipeline.runtime.paths import PARAMS

    new = presets.load(preset)
    raw: Mapping[str, Any] = {}
    try:
        raw = read_raw() if PARAMS.exists() else {}
        # A missing key counts as changed.
        old = {k.name: k.value for k in keys(validate(Params, raw, "")) if _has(raw, k.name)}
    except UsageError:  # replace a broken or outdated file
        old = {}
        if not raw:
            logger.warning("%s could not be read: it is now %s.bak", PARAMS, PARAMS)
            PARAMS.replace(f"{PARAMS}.bak")
    new, kept = presets.with_own_data(new, raw)
    _write(render(new))
    changed = [k for k in keys(new) if k.name not in old or old[k.name] != k.value]
    _table(
        f"params.yaml now holds the preset {preset}" + (":" if changed else "; no value changed"),
        ["key", "before", "now"],
        [[k.name, to_yaml(old[k.name]) if k.name in old else "", to_yaml(k.value)] for k in changed],
    )
    if kept:
        logger.info("kept as they were: %s (data.source: phantom would be the phantom)", " and ".join(kept))
    _warn(new)


@app.command()
def fit(
    memory: Annotated[
        float | None, typer.Option(help="memory to plan for, GB, for instance that of another machine's GPU", min=0.5)
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu or cuda; default: a GPU if there is one or --memory is given")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only show the changes")] = False,
) -> None:
    """Write sizes into params.yaml that fit the cohort and the memory, and show the reasons.

    Run `dvc repro download` first. Uses the ROIs of stage crop if it has run, and never looks at test subjects.
    """
    from crossmodalnet.errors import UsageError
    from pipeline.cohort.pairs import make_pairs, read_manifest
    from pipeline.config.params import Params, read_raw, validate
    from pipeline.config.render import keys, render, to_yaml
    from pipeline.fitting.fit import fit as fit_sizes
    from pipeline.fitting.fit import machine_of
    from pipeline.fitting.hearts import measure_hearts, read_boxes
    from pipeline.runtime.paths import CROP_QC, MANIFEST, PARAMS

    if device not in (None, "cpu", "cuda"):
        raise UsageError(f"--device must be cpu or cuda, got {device}")
    params = validate(Params, read_raw(), "")
    machine = machine_of(device, memory)
    pairs = make_pairs(read_manifest(MANIFEST), params.split)
    hearts = measure_hearts(pairs, read_boxes(CROP_QC), params.crop.margin_mm, params.runtime)
    fitted, reasons = fit_sizes(params, hearts, machine)
    if not dry_run:
        _write(render(fitted))
    old, new = ({k.name: k.value for k in keys(p)} for p in (params, fitted))
    _table(
        f"{PARAMS} {'would hold' if dry_run else 'now holds'} sizes for {hearts.num_hearts} training hearts",
        ["key", "before", "now", "why"],
        [[key, to_yaml(old[key]), to_yaml(new[key]), why] for key, why in reasons.items()],
    )
    _warn(fitted)


def _has(raw: Mapping[str, Any], name: str) -> bool:
    """Return True if the file's content has a dotted key."""
    section, _, rest = name.partition(".")
    return section in raw and (not rest or (isinstance(raw[section], Mapping) and _has(raw[section], rest)))


def _write(text: str) -> None:
    from crossmodalnet.io.outputs import whole_file
    from pipeline.runtime.paths import PARAMS

    with whole_file(PARAMS) as temporary:
        temporary.write_text(text, "utf-8")


def _warn(params: "Params") -> None:
    """Warn of windows that waste tokens on padding."""
    from pipeline.config.consistency import wasteful_windows

    for text, remedy in wasteful_windows(params):
        logger.warning("%s; %s", text, remedy)


def _table(title: str, header: list[str], rows: list[list[str]]) -> None:
    from crossmodalnet.io.console import plain_table

    typer.echo("\n".join(filter(None, (title, plain_table(header, rows) if rows else ""))))
