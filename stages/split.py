"""Stage `split`: which pairs train, validate and test, written down."""

import logging

logger = logging.getLogger(__name__)


def main() -> None:
    """Write data/split.json: the pairs of each role, split by subject of both modalities."""
    from pipeline.cases.pairs import make_pairs, read_manifest, select
    from pipeline.cases.params import SplitParams
    from pipeline.cases.split_file import ROLES, write_split
    from pipeline.common.params import load_section
    from pipeline.common.paths import MANIFEST, SPLIT

    params = load_section(SplitParams, "split")
    pairs = make_pairs(read_manifest(MANIFEST), params)
    write_split(SPLIT, pairs, params)
    logger.info("split: %s", ", ".join(f"{len(select(pairs, role))} {role}" for role in ROLES))
