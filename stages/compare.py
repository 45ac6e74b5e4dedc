"""Stage `compare`: compare all methods by scores, paired tests and ranks."""

import logging

logger = logging.getLogger(__name__)


def main() -> None:
    """Compare models, ablations and the atlas baseline: intervals, paired tests, ranks, tables and statements.

    Adaptations are also compared with their bounds and parts. Between modalities, only the models are compared: cases
    are single images, without atlas baseline or ablations.
    """
    from crossmodalnet.io.outputs import whole_folder
    from pipeline.comparison.adaptation import compare_adaptation, read_domain_scores
    from pipeline.comparison.compare import compare, write_comparison
    from pipeline.comparison.conditions import read_conditions
    from pipeline.comparison.scores import read_methods, runs_of
    from pipeline.config.params import load_section, read_raw
    from pipeline.config.sections import AdaptSection, CompareConfig
    from pipeline.runtime.paths import COMPARISON, EVALUATION

    raw = read_raw()
    params, adapt = load_section(CompareConfig, "compare"), load_section(AdaptSection, "adapt")
    models, ablations, seeds = raw["models"], raw.get("ablations") or [], raw.get("seeds") or [0]
    pairs = not (adapt.enabled and adapt.scenario != "cohort")
    runs = runs_of(EVALUATION, models, ablations if pairs else [], seeds, atlas=pairs)
    comparison = compare(read_methods(runs), models[0], params, conditions=read_conditions(runs))
    adapted = None
    if adapt.enabled:
        scores = read_domain_scores(EVALUATION, raw.get("adaptations") or [], seeds)
        adapted = compare_adaptation(scores, params)
    with whole_folder(COMPARISON) as folder:
        write_comparison(folder, comparison)
        if adapted:
            adapted.write(folder)
    for headline in comparison.headlines + ([s["text"] for s in adapted.statements] if adapted else []):
        logger.info("%s", headline)
