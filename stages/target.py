"""Stage `target`: the images of the domain that is adapted to, and apart from them its labels."""

import logging

logger = logging.getLogger(__name__)


def main() -> None:
    """Prepare the target domain of `adapt` in data/target, and in data/target_labels what labels it has.

    Nothing in data/target depends on a label of the target. Where `adapt.enabled` is false both folders say so.
    DVC does not know what lies at adapt.target.path: after a change there run `dvc repro -f target`.
    """
    from pipeline.outputs import whole_folder
    from pipeline.params.adapt import AdaptParams
    from pipeline.params.base import load_section
    from pipeline.paths import TARGET, TARGET_LABELS
    from pipeline.target.domain import write_domain
    from pipeline.target.label_list import write_labelled_names

    params = load_section(AdaptParams, "adapt")
    with whole_folder(TARGET) as images, whole_folder(TARGET_LABELS) as labels:
        if not params.enabled:
            write_domain(images, None)
            write_labelled_names(labels, [])
            return
        from pipeline.params.crop import CropParams
        from pipeline.params.register import RegisterParams
        from pipeline.params.split import SplitParams
        from pipeline.target.cohort import prepare_cohort
        from pipeline.target.labels import write_target_labels
        from pipeline.target.modality import prepare_modality
        from pipeline.target.prepared import TARGET_CASES, Sections

        sections = Sections(
            load_section(RegisterParams, "register"),
            load_section(SplitParams, "split"),
            load_section(CropParams, "crop"),
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
