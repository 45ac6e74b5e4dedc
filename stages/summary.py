"""`crossmodalnet summary`: the results in a few lines."""


def main() -> None:
    """Print the mean results of every model beside the atlas baseline, and where the report is."""
    from rich.console import Console

    from pipeline.summary import print_summary

    print_summary(Console())
