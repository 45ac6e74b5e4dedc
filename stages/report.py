"""Stage `report`: write the report page."""

import logging

logger = logging.getLogger(__name__)


def main() -> None:
    """Write report/index.html: results, pictures, curves, quality control and parameters in one file."""
    from pipeline.report.artefacts import gather
    from pipeline.report.page import write_page
    from pipeline.runtime.paths import REPORT

    artefacts = gather()
    page = write_page(REPORT, artefacts)
    for problem in artefacts.unlearned:
        logger.warning("%s", problem)
    logger.info("report: %s (%.1f MB)", page, page.stat().st_size / 1e6)
