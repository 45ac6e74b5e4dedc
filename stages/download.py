"""Stage `download`: the cohort and its manifest, checked, in data/raw."""

import logging

logger = logging.getLogger(__name__)


def main() -> None:
    """Bring the cohort to data/raw: make the phantom, or collect MM-WHS from a folder, zip archives or URLs.

    Every file is read to its end and checked before anything takes the place of data/raw. DVC knows the
    parameters of this stage, not what lies at data.path: after a change there run `dvc repro -f download`.
    """
    from pipeline.cases import write_manifest
    from pipeline.findings import require_sound
    from pipeline.integrity import check_cohort, subjects
    from pipeline.outputs import whole_folder
    from pipeline.params.base import load_section
    from pipeline.params.data import DataParams
    from pipeline.paths import MANIFEST, RAW
    from pipeline.sources.mmwhs import LaidOut, lay_out_mmwhs
    from pipeline.sources.phantom import make_phantom_cohort

    params = load_section(DataParams, "data")
    with whole_folder(RAW) as folder:
        laid_out = LaidOut()
        if params.source == "phantom":
            make_phantom_cohort(folder, params.phantom)
        else:
            laid_out = lay_out_mmwhs(folder, params)
        require_sound([*laid_out.findings, *check_cohort(folder, laid_out.origins)])
        cohort = subjects(folder)
        write_manifest(folder / MANIFEST.name, cohort)
    num_labelled = sum(subject.label is not None for subject in cohort)
    logger.info("%s: %d subjects, %d of them labelled", RAW, len(cohort), num_labelled)
