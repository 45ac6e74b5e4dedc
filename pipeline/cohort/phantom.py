"""The embedded cohort: phantom subjects, written exactly as MM-WHS is."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crossmodalnet.imaging.nifti import write_codes, write_image
from crossmodalnet.imaging.structures import Modality, to_codes
from crossmodalnet.phantom.generate import make_subject
from crossmodalnet.phantom.protocols import Scanner
from pipeline.config.sections import PhantomConfig
from pipeline.runtime.cost import CaseCost
from pipeline.runtime.params import RuntimeConfig
from pipeline.runtime.run_cases import ALL_CORES, Work, run_cases

logger = logging.getLogger(__name__)

FIRST_LABELLED, FIRST_UNLABELLED = 1001, 2001
# A subject is made slab by slab, in memory that hardly grows with the scan (docs/benchmarks.md).
COST = CaseCost(base_mb=400)
# As in MM-WHS, one MR label map holds 421 where 420 (LA) is meant.
STRAY_NUMBER, LA_CODE, STRAY_CODE, NUM_STRAY = 1002, 420, 421, 12


@dataclass(frozen=True)
class _Task:
    folder: Path
    modality: Modality
    number: int
    seed: int
    spacing_mm: float
    scanner: Scanner
    same_patients: bool

    @property
    def stem(self) -> str:
        part = "train" if self.labelled else "test"
        return f"{self.modality.value}_{part}_{self.number}"

    @property
    def labelled(self) -> bool:
        return self.number < FIRST_UNLABELLED


def make_phantom_cohort(folder: Path, params: PhantomConfig, runtime: RuntimeConfig = ALL_CORES) -> None:
    """Write all images and label maps of the phantom cohort into `folder`: the same `params`, the same bytes.

    Names are those of MM-WHS: `ct_train_1001_image.nii.gz`, `ct_train_1001_label.nii.gz`, and without labels
    `ct_test_2001_image.nii.gz`. The label map of one MR holds a few 421 where 420 (LA) is meant, as
    published.
    """
    folder.mkdir(parents=True, exist_ok=True)
    spacing = {Modality.CT: params.ct_spacing_mm, Modality.MR: params.mr_spacing_mm}
    numbers = [FIRST_LABELLED + i for i in range(params.num_labelled)]
    numbers += [FIRST_UNLABELLED + i for i in range(params.num_unlabelled)]
    tasks = [
        _Task(folder, m, n, params.seed, spacing[m], params.scanner, params.same_patients)
        for n in numbers
        for m in Modality
    ]
    for task, _ in run_cases(_write_subject, tasks, Work("phantom", COST), runtime):
        logger.debug("made %s", task.stem)
    logger.info("phantom: %d subjects in %s", len(tasks), folder)


def _write_subject(task: _Task) -> None:
    image, label = make_subject(
        task.modality,
        task.spacing_mm,
        task.seed,
        task.number,
        task.scanner,
        same_patient=task.same_patients,
    )
    write_image(task.folder / f"{task.stem}_image.nii.gz", image)
    if not task.labelled:
        return
    codes = to_codes(label.data)
    if task.modality is Modality.MR and task.number == STRAY_NUMBER:
        strays = np.flatnonzero(codes == LA_CODE)[:NUM_STRAY]
        codes.flat[strays] = STRAY_CODE
    write_codes(task.folder / f"{task.stem}_label.nii.gz", codes, label.affine)
