"""Define the command line: `predict`, `models`, and in a clone the stages of the pipeline."""

import json
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Annotated, Any
from zipfile import ZipFile, is_zipfile

import typer
from typer.core import TyperGroup

from crossmodalnet.errors import (
    CrossModalNetError,
    DataError,
    ResourceError,
    UsageError,
    did_you_mean,
    no_model,
    resource_problem,
)
from crossmodalnet.io.console import plain_table, setup_logging
from crossmodalnet.processes import remove_stale

logger = logging.getLogger(__name__)

HELP = "Whole-heart segmentation from a patient's CT and MRI together."
PANEL = "New patients"
EXPORTED = Path("exported")
MODEL = EXPORTED / "crossmodalnet/seed0"
CARD, MAX_CARD_BYTES = "card.json", 2**22
SCAN = "NIfTI, NRRD or MetaImage file, or a folder or zip archive with a DICOM series"
# Exit codes after a signal, as in shells.
INTERRUPTED = (128 + signal.SIGINT, 128 + signal.SIGTERM)


class _ShowByDefault(TyperGroup):
    """Commands on models: `models FOLDER` is `models show FOLDER`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Take what is no command for a model."""
        return super().resolve_command(ctx, args if args[0] in self.commands else ["show", *args])


models_app = typer.Typer(cls=_ShowByDefault, help="Show exported models, and pack a model to one file.")


def main() -> None:
    """Run all commands in a clone of the repository, else `predict` and `models`."""
    try:
        stages = import_module("stages.app")
    except ModuleNotFoundError as error:
        if error.name not in ("stages", "stages.app"):
            raise
        run(make_app())
    else:
        stages.main()


def make_app() -> typer.Typer:
    """Make the command line with the commands of this module."""
    app = typer.Typer(help=HELP, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
    app.command("predict", rich_help_panel=PANEL)(predict)
    app.add_typer(models_app, name="models", rich_help_panel=PANEL)
    return app


def run(app: typer.Typer, obj: Any = None) -> None:
    """Run a command line (`obj`: `side_by_side` of `predict`); errors become message and exit code."""
    setup_logging()
    try:
        with _ending_on_sigterm():
            _check_none_empty(sys.argv[1:])
            remove_stale()
            app(obj=obj)
    except SystemExit as end:
        if end.code in INTERRUPTED:
            logger.error("interrupted: no half-written file is left")
        raise
    except CrossModalNetError as error:
        logger.error("error: %s", error)
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        logger.error("error: %s: in a clone, run `make install` or `pip install -e '.[pipeline]'`", error)
        sys.exit(ResourceError.exit_code)
    except Exception as error:
        if (lack := resource_problem(error)) is None:
            raise
        logger.error("error: %s", lack)
        sys.exit(ResourceError.exit_code)


def predict(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="folder to write; with --cohort a folder per patient in it")],
    ct: Annotated[Path | None, typer.Option(help=f"CT in HU: {SCAN}")] = None,
    mr: Annotated[Path | None, typer.Option(help=f"MR: {SCAN}")] = None,
    cohort: Annotated[Path | None, typer.Option(help="many patients: CSV with patient, ct, mr")] = None,
    model: Annotated[
        list[Path] | None,
        typer.Option(help=f"exported model, folder or packed file; several are an ensemble; default: {MODEL}"),
    ] = None,
    labels: Annotated[
        str,
        typer.Option(
            help="values of label maps: mmwhs (205 to 850), index (1 to 7), totalsegmentator (1 to 7 as in its "
            "heartchambers_highres) or totalsegmentator_v1"
        ),
    ] = "mmwhs",
    box: Annotated[
        str | None,
        typer.Option(
            help="heart ROI, 'x y z x y z' in mm (RAS): lowest and highest corner; default: found by the atlases"
        ),
    ] = None,
    series: Annotated[
        list[str] | None,
        typer.Option(
            help="DICOM series by description, number or UID, or its part ('echo 2'), if there are several; repeatable"
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    workers: Annotated[
        int,
        typer.Option(help="patients at once with --cohort on the CPU, in a clone; 0: as cores and memory allow", min=0),
    ] = 0,
    scheduler: Annotated[
        str | None, typer.Option(help="scheduler of dask.distributed for --cohort, in a clone: tcp://host:8786")
    ] = None,
    print_record: Annotated[bool, typer.Option("--json", help="print run.json")] = False,
) -> None:
    """Segment a patient's CT and MR, or one of them if the model was trained for that.

    Writes label maps on the scans' own grids, volumes.csv, pictures and run.json. Research software, not a medical
    device.
    """
    from crossmodalnet.imaging.codes import CODE_SETS

    if labels not in CODE_SETS:
        close = did_you_mean(labels, CODE_SETS, "; did you mean {}?")
        raise UsageError(f"--labels must be {' or '.join(CODE_SETS)}, got {labels}{close}")
    if cohort is not None and (ct or mr or box or series):
        raise UsageError("--cohort replaces --ct, --mr, --series and --box")
    if cohort is not None and print_record:
        raise UsageError("--json prints the record of one patient; with --cohort each folder has its run.json")
    models = model or [MODEL]
    if cohort is None:
        _check_early(models[0], ct, mr, series)
    from crossmodalnet.inference.patients import (
        PatientTask,
        load_predictor,
        one_after_another,
        predict_patient,
        predict_patients,
        read_box,
        read_cohort_table,
    )
    from crossmodalnet.inference.write import NOTE, PatientScans, digest_models, origin_of, trained_on

    roi = read_box(box) if box is not None else None
    out = Path(os.path.abspath(out))  # noqa: PTH100 (`resolve` would follow a link, which is rejected)
    patients = [PatientScans(out.name, ct, mr, tuple(series or ()))] if cohort is None else read_cohort_table(cohort)
    predictor = load_predictor(models, device)
    logger.info("%s. %s", trained_on(predictor.cards), NOTE)
    if not predictor.judges_mr and any(scans.ct and scans.mr for scans in patients):
        logger.warning("this model cannot tell whether an MR shows the heart (mr_likeness is null): export it again")
    digest = digest_models(models)
    tasks = [
        PatientTask(
            scans, out if cohort is None else out / scans.name, origin_of(scans, digest, codes=labels, box=roi), roi
        )
        for scans in patients
    ]
    if cohort is not None:
        run_patients = partial(one_after_another, predictor)
        if predictor.device.type == "cpu" and context.obj:
            run_patients = partial(context.obj, models, workers, scheduler)
        elif workers > 1 or scheduler:
            raise UsageError("--workers and --scheduler need a clone of the repository, and --device cpu")
        predict_patients(tasks, run_patients)
        return
    record = predict_patient(predictor, tasks[0])
    if print_record:
        try:
            typer.echo(json.dumps(record, indent=2))
        except BrokenPipeError:
            raise
        except OSError as error:
            raise ResourceError(f"run.json cannot be printed ({error}); it lies in {out}") from error


def _check_early(model: Path, ct: Path | None, mr: Path | None, series: Sequence[str] | None) -> None:
    """Reject what needs neither PyTorch nor weights: missing files, and scans that the model's card excludes."""
    from crossmodalnet.imaging.structures import accepted_inputs, excluded

    if ct is None and mr is None:
        raise UsageError("give --ct, --mr or both")
    for name, scan in (("CT", ct), ("MR", mr)):
        if scan is not None and not os.access(scan, os.R_OK):
            raise DataError(f"{name} {scan}: cannot be read (not there, or no permission)")
    if series and not any(scan and (scan.is_dir() or is_zipfile(scan)) for scan in (ct, mr)):
        raise UsageError("--series chooses in a folder or zip archive of DICOM, but no scan is one")
    if not any(os.access(path, os.F_OK) for path in (model, model / CARD) if not path.is_dir()):
        raise DataError(no_model(model / CARD))
    problem = ""
    with suppress(Exception), ExitStack() as stack:  # loading a damaged model says what is wrong with it
        packed = stack.enter_context(ZipFile(model)) if model.is_file() else None
        if packed or (model / CARD).is_file():
            file = stack.enter_context(packed.open(CARD) if packed else (model / CARD).open("rb"))
            card = json.loads(file.read(MAX_CARD_BYTES))
            problem = excluded(accepted_inputs(card["network"], card["train"], card.get("adaptation")), ct, mr)
    if problem:
        raise DataError(problem)


@models_app.callback(invoke_without_command=True)
def models(context: typer.Context) -> None:
    """Show the models in exported/ if no command is given."""
    if context.invoked_subcommand is None:
        show(None)


@models_app.command()
def show(
    models: Annotated[
        list[Path] | None,
        typer.Argument(help="model folders or packed models; default: all in exported/", show_default=False),
    ] = None,
) -> None:
    """Show modalities, structures, training data and validation Dice of exported models."""
    from crossmodalnet.inference.patients import load_predictor

    paths = models or sorted(path.parent for path in EXPORTED.glob("*/seed*/card.json"))
    if not paths:
        raise DataError(
            f"no model in {EXPORTED}/: run `dvc repro export`, or name a folder: `crossmodalnet models show FOLDER`"
        )
    for path in paths:
        predictor = load_predictor([path], "cpu")
        card = predictor.cards[0]
        rows = [
            ("network", card.name),
            ("segments", " or ".join(predictor.modalities)),
            ("structures", " ".join(entry.abbreviation for entry in card.labels)),
            ("trained on", card.cohort or "not recorded"),
            ("pairs", f"{len(card.training_pairs)} for training, {len(card.validation_pairs)} for validation"),
            ("validation Dice", f"{card.validation_dice:.3f}"),
            ("finds the heart", "yes" if predictor.atlases else "no, needs --box"),
        ]
        typer.echo(plain_table(("model", str(path)), rows))


@models_app.command()
def pack(
    folder: Annotated[Path, typer.Argument(help="exported model folder", show_default=False)],
    file: Annotated[Path, typer.Argument(help="file to write, an uncompressed zip archive", show_default=False)],
) -> None:
    """Pack a model folder into one file for `crossmodalnet predict --model FILE`.

    Damaged models and models of another version are rejected.
    """
    from crossmodalnet.inference.model_folder import pack_model
    from crossmodalnet.inference.patients import load_predictor

    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder: give one that `crossmodalnet export` has written")
    load_predictor([folder], "cpu")
    try:
        pack_model(folder, file)
    except FileExistsError as error:
        raise UsageError(f"{file} exists and is no packed model: choose another name") from error
    except ValueError as error:
        raise DataError(str(error)) from error
    except OSError as error:
        raise ResourceError(f"{file} cannot be written ({error})") from error
    size = file.stat().st_size
    logger.info("%s: %.1f MB; crossmodalnet predict --model %s --ct CT --mr MR --out DIR", file, size / 1e6, file)


@contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """Exit on SIGTERM (schedulers, `timeout`) as on Ctrl-C, with cleanup."""

    def end(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _check_none_empty(arguments: Sequence[str]) -> None:
    """Reject empty arguments: an unset shell variable would mean the current folder."""
    for before, argument in pairwise(["", *arguments]):
        option, sign, value = argument.partition("=")
        if not (sign and option.startswith("--")):
            option, value = before, argument
        if not value:
            what = f"option {option}" if option.startswith("--") else "an argument"
            raise UsageError(f"{what} is empty: is a variable of the shell not set?")
