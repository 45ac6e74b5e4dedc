"""Stage `split`: assign pairs to training, validation and test."""

import logging

logger = logging.getLogger(__name__)


def main() -> None:
    """Write data/split.json: the pairs of each role, split by patient."""
    from pipeline.cohort.pairs import ROLES, make_pairs, one_per_ct, read_manifest, select, unpaired
    from pipeline.cohort.split_file import write_split
    from pipeline.config.params import load_section
    from pipeline.config.sections import SplitConfig
    from pipeline.runtime.paths import MANIFEST, SPLIT

    params = load_section(SplitConfig, "split")
    subjects = read_manifest(MANIFEST)
    pairs = make_pairs(subjects, params)
    write_split(SPLIT, pairs, params)
    logger.info("split: %s", ", ".join(f"{len(select(pairs, role))} {role}" for role in ROLES))
    if num_same := sum(pair.is_one_patient for pair in pairs):
        logger.info("split: %d of %d pairs are the CT and MR of one patient", num_same, len(pairs))
    if params.mrs_per_ct > 1:
        num_cts = len(one_per_ct(select(pairs, "train")))
        logger.info("split: each of %d training CTs is paired with %d MRs", num_cts, params.mrs_per_ct)
    if num_same or params.pairing != "auto":
        for subject in unpaired(subjects, pairs):
            why = "nobody is left to be paired with"
            if params.pairing == "same_patient":
                why = "the patient's other modality is missing, and split.pairing is same_patient"
            logger.warning("%s: in no pair, since %s", subject.name, why)
