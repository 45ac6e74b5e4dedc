"""`crossmodalnet predict`: segment a new patient."""

import logging
from pathlib import Path
from typing import Annotated

import typer

logger = logging.getLogger(__name__)

SCAN = "NIfTI, NRRD or MetaImage file, or a folder with one DICOM series"


def main(
    out: Annotated[Path, typer.Option(help="folder to write; with --cohort a folder per patient in it")],
    ct: Annotated[Path | None, typer.Option(help=f"CT in HU: {SCAN}")] = None,
    mr: Annotated[Path | None, typer.Option(help=f"MR: {SCAN}")] = None,
    cohort: Annotated[Path | None, typer.Option(help="many patients: CSV with patient, ct, mr")] = None,
    model: Annotated[Path, typer.Option(help="exported model folder")] = Path("exported/crossmodalnet/seed0"),
    labels: Annotated[
        str, typer.Option(help="values of label maps: mmwhs (205 to 850) or index (1 to 7)")
    ] = "mmwhs",
    box: Annotated[
        str | None,
        typer.Option(help="heart box, 'x y z x y z' in mm (RAS): lowest and highest corner; default: found"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="print run.json")] = False,
) -> None:
    """Segment a patient's CT and MR, or one of them where the model was trained for that.

    Writes label maps on the scans' own grids, volumes.csv, preview.png and run.json. Research software, not a medical
    device.
    """
    import json as encoder

    from pipeline.common.errors import UsageError
    from pipeline.prediction.cohort import predict_cohort, read_cohort_table
    from pipeline.prediction.options import read_box
    from pipeline.prediction.origin import PatientScans, digest_model, origin_of
    from pipeline.prediction.patient import load_predictor, predict_patient
    from pipeline.prediction.write import CODES, NOTE

    if labels not in CODES:
        raise UsageError(f"--labels must be {' or '.join(CODES)}, got {labels}")
    if cohort is not None and (ct or mr or box):
        raise UsageError("--cohort stands in place of --ct, --mr and --box")
    heart = read_box(box) if box is not None else None
    patients = [PatientScans(out.name, ct, mr)] if cohort is None else read_cohort_table(cohort)
    logger.info(NOTE)
    predictor = load_predictor(model, device)
    if cohort is not None:
        predict_cohort(predictor, digest_model(model), patients, out, codes=labels)
        return
    origin = origin_of(patients[0], digest_model(model), codes=labels, box=heart)
    record = predict_patient(predictor, origin, out)
    if json:
        typer.echo(encoder.dumps(record, indent=2))
