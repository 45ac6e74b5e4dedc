"""`crossmodalnet predict`: segment a new patient."""

import logging
import os
from pathlib import Path
from typing import Annotated

import typer

logger = logging.getLogger(__name__)

MODEL = "exported/crossmodalnet/seed0"
SCAN = "NIfTI, NRRD or MetaImage file, or a folder or zip archive with a DICOM series"


def main(
    out: Annotated[Path, typer.Option(help="folder to write; with --cohort a folder per patient in it")],
    ct: Annotated[Path | None, typer.Option(help=f"CT in HU: {SCAN}")] = None,
    mr: Annotated[Path | None, typer.Option(help=f"MR: {SCAN}")] = None,
    cohort: Annotated[Path | None, typer.Option(help="many patients: CSV with patient, ct, mr")] = None,
    model: Annotated[
        list[Path] | None,
        typer.Option(
            help=f"exported model, folder or packed file; several are an ensemble; default: {MODEL}"
        ),
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
        typer.Option(help="heart box, 'x y z x y z' in mm (RAS): lowest and highest corner; default: found"),
    ] = None,
    series: Annotated[
        list[str] | None,
        typer.Option(
            help="DICOM series by description, number or UID, where a folder has several; repeatable"
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    mirror: Annotated[
        str,
        typer.Option(
            help="axes, of 'xyz' (right-left, back-front, foot-head), along which scans are segmented mirrored as "
            "well, and averaged; default: none, since a mirrored heart is another anatomy"
        ),
    ] = "",
    workers: Annotated[
        int,
        typer.Option(help="patients at once with --cohort on the CPU; 0: as cores and memory allow", min=0),
    ] = 0,
    scheduler: Annotated[
        str | None, typer.Option(help="scheduler of dask.distributed for --cohort: tcp://host:8786")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="print run.json")] = False,
) -> None:
    """Segment a patient's CT and MR, or one of them where the model was trained for that.

    Writes label maps on the scans' own grids, volumes.csv, pictures and run.json. Research software, not a medical
    device.
    """
    import json as encoder

    from crossmodalnet.imaging.codes import CODE_SETS
    from pipeline.prediction.many_patients import predict_cohort, read_cohort_table
    from pipeline.prediction.options import read_box
    from pipeline.prediction.origin import PatientScans, digest_models, origin_of
    from pipeline.prediction.patient import load_predictor, predict_patient
    from pipeline.prediction.side_by_side import PatientWorkers
    from pipeline.prediction.write import NOTE
    from pipeline.runtime.errors import ResourceError, UsageError
    from pipeline.runtime.workers import RuntimeConfig
    from pipeline.training.processes import find_device

    if labels not in CODE_SETS:
        raise UsageError(f"--labels must be {' or '.join(CODE_SETS)}, got {labels}")
    if cohort is not None and (ct or mr or box or series):
        raise UsageError("--cohort stands in place of --ct, --mr, --series and --box")
    if cohort is not None and json:
        raise UsageError(
            "--json prints the record of one patient; with --cohort each folder has its run.json"
        )
    heart = read_box(box) if box is not None else None
    out = Path(os.path.abspath(out))  # noqa: PTH100 (`resolve` would follow a link, which is refused)
    patients = (
        [PatientScans(out.name, ct, mr, tuple(series or ()))] if cohort is None else read_cohort_table(cohort)
    )
    logger.info(NOTE)
    models = model or [Path(MODEL)]
    predictor = load_predictor(models, device, mirror)
    if cohort is not None:
        runtime = RuntimeConfig(workers=workers, scheduler=scheduler)
        on_cpu = find_device(device, "--device").type == "cpu"
        several = PatientWorkers(tuple(models), runtime, mirror) if on_cpu else None
        predict_cohort(
            predictor, digest_models(models), patients, out, codes=labels, mirror=mirror, workers=several
        )
        return
    origin = origin_of(patients[0], digest_models(models), codes=labels, box=heart, mirror=mirror)
    record = predict_patient(predictor, origin, out)
    if json:
        try:
            typer.echo(encoder.dumps(record, indent=2))
        except BrokenPipeError:
            raise
        except OSError as error:
            raise ResourceError(f"run.json cannot be printed ({error}); it lies in {out}") from error
