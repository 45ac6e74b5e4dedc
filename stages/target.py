"""Stage `target`: prepare the target domain, with its labels in a separate folder."""

import logging

logger = logging.getLogger(__name__)


def main() -> None:
    """Prepare the target domain of `adapt` in data/target, and its labels, if any, in data/target_labels.

    Nothing in data/target depends on a target label. If `adapt.enabled` is false, both folders record that. DVC does
    not track adapt.target.path: after a change there, run `dvc repro -f target`.
    """
    from crossmodalnet.io.outputs import whole_folder
    from pipeline.config.params import load_section
    from pipeline.config.sections import AdaptSection
    from pipeline.preparation.domain import write_domain, write_labelled_names
    from pipeline.runtime.paths import TARGET, TARGET_LABELS

    params = load_section(AdaptSection, "adapt")
    with whole_folder(TARGET) as images, whole_folder(TARGET_LABELS) as labels:
        if not params.enabled:
            write_domain(images, None)
            write_labelled_names(labels, [])
            return
        from crossmodalnet.registration.config import RegistrationConfig
        from pipeline.config.sections import CropConfig, SplitConfig
        from pipeline.preparation.domain import TARGET_CASES
        from pipeline.preparation.target import Sections, prepare_cohort, prepare_modality, write_target_labels
        from pipeline.runtime.workers import RuntimeConfig

        sections = Sections(
            load_section(RegistrationConfig, "register"),
            load_section(SplitConfig, "split"),
            load_section(CropConfig, "crop"),
            load_section(RuntimeConfig, "runtime"),
        )
        if params.scenario == "cohort":
            # The raw cohort lies beside the output, which is removed with it.
            domain, native = prepare_cohort(params.target, sections, images, images.parent / "cohort")
        else:
            domain, native = prepare_modality(params.scenario, sections, images)
        write_domain(images, domain)
        write_target_labels(labels, images / TARGET_CASES, native)
    counts = {role: len(names) for role, names in domain.target.items()}
    logger.info("%s: %s, %s target cases", TARGET, domain.scenario, counts)
