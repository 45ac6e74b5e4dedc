"""Stage `report`: everything on one page."""

import logging

logger = logging.getLogger(__name__)


def main() -> None:
    """Write report/index.html: results, pictures, curves, quality control and parameters in one file."""
    from pipeline.params.base import load_section, read_raw
    from pipeline.params.data import DataParams
    from pipeline.params.report import ReportParams
    from pipeline.paths import REPORT
    from pipeline.report.gather import gather
    from pipeline.report.render import write_page

    params, raw = load_section(ReportParams, "report"), read_raw()
    source = load_section(DataParams, "data").source
    artefacts = gather(raw["models"], raw.get("ablations") or [], raw.get("seeds") or [0], source)
    page = write_page(REPORT, artefacts, params)
    logger.info("report: %s (%.1f MB)", page, page.stat().st_size / 1e6)
