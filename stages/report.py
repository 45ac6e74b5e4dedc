"""Stage `report`: everything on one page."""

import logging

logger = logging.getLogger(__name__)


def main() -> None:
    """Write report/index.html: results, pictures, curves, quality control and parameters in one file."""
    from pipeline.config.params import load_section
    from pipeline.config.sections import ReportConfig
    from pipeline.report.artefacts.gather import gather_run
    from pipeline.report.page.render import write_page
    from pipeline.runtime.paths import REPORT

    page = write_page(REPORT, gather_run(), load_section(ReportConfig, "report"))
    logger.info("report: %s (%.1f MB)", page, page.stat().st_size / 1e6)
