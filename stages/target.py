"""Stage `target`: the images of the domain that is adapted to, and apart from them its labels."""

import logging

logger = logging.getLogger(__name__)


def main() -> None:
    """Prepare the target domain of `adapt` in data/target, and in data/target_labels what labels it has.

    Nothing in data/target depends on a label of the target. Where `adapt.enabled` is false both folders say so.
    DVC does not know what lies at adapt.target.path: after a change there run `dvc repro -f target`.
    """
    from pipeline.case_sets.domain import write_domain
    from pipeline.case_sets.label_list import write_labelled_names
    from pipeline.common.outputs import whole_folder
    from pipeline.common.params import load_section
    from pipeline.common.paths import TARGET, TARGET_LABELS
    from pipeline.target_domain.params import AdaptSection

    params = load_section(AdaptSection, "adapt")
    with whole_folder(TARGET) as images, whole_folder(TARGET_LABELS) as labels:
        if not params.enabled:
            write_domain(images, None)
            write_labelled_names(labels, [])
            return
        from pipeline.case_sets.domain import TARGET_CASES
        from pipeline.case_sets.target_labels import write_target_labels
        from pipeline.common.split_params import SplitParams
        from pipeline.cropping.params import CropParams
        from pipeline.registration.params import RegisterParams
        from pipeline.target_domain.cohort import prepare_cohort
        from pipeline.target_domain.modality import prepare_modality
        from pipeline.target_domain.prepared import Sections
        from pipeline.workers.params import RuntimeParams

        sections = Sections(
            load_section(RegisterParams, "register"),
            load_section(SplitParams, "split"),
            load_section(CropParams, "crop"),
            load_section(RuntimeParams, "runtime"),
        )
        if params.scenario == "cohort":
            # Beside the output: gone with it, whatever happens.
            prepared = prepare_cohort(params.target, sections, images, images.parent / "cohort")
        else:
            prepared = prepare_modality(params.scenario, sections, images)
        write_domain(images, prepared.domain)
        write_target_labels(labels, images / TARGET_CASES, prepared.labels)
    counts = {role: len(names) for role, names in prepared.domain.target.items()}
    logger.info("%s: %s, %s target cases", TARGET, prepared.domain.scenario, counts)
