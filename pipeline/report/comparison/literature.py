"""Figures of others, with their sources, for context only."""

from pathlib import Path

import pandas as pd

from pipeline.report.charts.tables import Table, frame_table

FILE = Path(__file__).with_name("literature.csv")


def literature_table() -> Table:
    """Print literature.csv; every row has a source."""
    return frame_table(pd.read_csv(FILE))
