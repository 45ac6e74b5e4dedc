"""Stage `atlas`: score the registration baseline."""

import logging

logger = logging.getLogger(__name__)


def main() -> None:
    """Score the registration alone: MR labels warped to the CT of each test pair, as if predicted."""
    import shutil

    from crossmodalnet.errors import DataError
    from crossmodalnet.io.console import track
    from crossmodalnet.io.outputs import whole_folder, write_json
    from pipeline.cohort.split_file import read_notes, read_split
    from pipeline.config.params import load_section
    from pipeline.config.sections import EvaluateConfig
    from pipeline.evaluation.score_cases import prediction_file, score_pair, write_tables
    from pipeline.runtime.paths import EVALUATION, METRICS, REGISTERED, SPLIT

    params = load_section(EvaluateConfig, "evaluate")
    pairs, missing = read_split(SPLIT)["test"], read_notes(SPLIT).missing
    with whole_folder(EVALUATION / "atlas") as folder:
        cases = []
        for pair in track(pairs, "atlas", len(pairs)):
            warped, file = REGISTERED / pair / "mr_label.nii.gz", prediction_file(folder, pair)
            if not warped.is_file():
                raise DataError(f"{pair}: {warped} not found: run `dvc repro register`")
            file.parent.mkdir(exist_ok=True)
            shutil.copyfile(warped, file)
            truth = warped.with_name("ct_label.nii.gz")
            cases.append(score_pair(pair, file, truth, params.nsd_tolerance_mm, missing=missing))
        scores = write_tables(folder, cases, params)
    write_json(METRICS / "atlas.json", scores.metrics)
    logger.info("atlas baseline: %s", scores.summary)
