"""Stage `download`: collect and check the cohort in data/raw."""

import logging
from pathlib import Path

logger = logging.getLogger(__name__)


def main() -> None:
    """Write the cohort to data/raw: make the phantom, or collect MM-WHS or a table of your own.

    Every file is checked before data/raw is replaced. DVC does not track data.path: after a change there, run
    `dvc repro -f download`.
    """
    from crossmodalnet.io.outputs import whole_folder
    from pipeline.cohort.cohort import gather_cohort
    from pipeline.cohort.guard import note_written, refuse_foreign
    from pipeline.cohort.pairs import write_manifest
    from pipeline.config.params import load_section
    from pipeline.config.sections import DataConfig
    from pipeline.runtime.paths import MANIFEST, RAW
    from pipeline.runtime.workers import RuntimeConfig

    params = load_section(DataConfig, "data")
    with whole_folder(RAW) as folder:
        cohort = gather_cohort(folder, params, load_section(RuntimeConfig, "runtime"))
        write_manifest(folder / MANIFEST.name, cohort)
        refuse_foreign(Path.cwd())
        note_written(folder)
    num_labelled = sum(subject.label is not None for subject in cohort)
    logger.info("%s: %d subjects, %d of them labelled", RAW, len(cohort), num_labelled)
