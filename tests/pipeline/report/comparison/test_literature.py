import pandas as pd

from pipeline.report.comparison.literature import FILE, literature_table


def test_every_figure_has_its_source_and_is_a_share() -> None:
    table = pd.read_csv(FILE, index_col=False)
    assert table["source"].str.len().min() > 10
    assert table["dice"].between(0, 1).all()


def test_columns_are_where_they_belong() -> None:
    table = literature_table()
    assert table.headings == ["Method", "Task", "Dice", "HD, mm", "ASD, mm", "Source"]
    assert table.rows[0][2:5] == ["0.941", "12.5", "0.72"]
    assert table.rows[-1][2:5] == ["0.836", "–", "–"]
