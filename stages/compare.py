"""Stage `compare`: every method against every other one, and what the differences are worth."""

import logging

logger = logging.getLogger(__name__)


def main() -> None:
    """Compare models, ablations and the atlas baseline: intervals, paired tests, ranks, tables and sentences."""
    from pipeline.comparison.compare import compare, write_comparison
    from pipeline.comparison.methods import read_methods
    from pipeline.outputs import whole_folder
    from pipeline.params.base import load_section, read_raw
    from pipeline.params.compare import CompareParams
    from pipeline.paths import COMPARISON, EVALUATION

    raw = read_raw()
    params = load_section(CompareParams, "compare")
    models = raw["models"]
    methods = read_methods(EVALUATION, models, raw.get("ablations") or [], raw.get("seeds") or [0])
    found = compare(methods, models[0], params)
    with whole_folder(COMPARISON) as folder:
        write_comparison(folder, found)
    for headline in found.headlines:
        logger.info("%s", headline)
