"""Show progress on a terminal, and one line per item elsewhere."""

import logging
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from typing import TypeVar

T = TypeVar("T")
logger = logging.getLogger(__name__)

# Without a terminal, lines are not wrapped, so that logs can be searched.
UNLIMITED_WIDTH = 1000


def setup_logging(level: int = logging.INFO) -> None:
    """Send the project's log to stderr as bare messages; other libraries from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Wrapped("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for package in ("crossmodalnet", "pipeline", "stages"):
        logging.getLogger(package).setLevel(level)


class _Wrapped(logging.Formatter):
    """Break long lines at blanks, and leave tables as they are."""

    def format(self, record: logging.LogRecord) -> str:
        width = max(40, terminal_width())
        return "\n".join(
            part
            for line in super().format(record).split("\n")
            for part in (wrapped(line, line[: -len(line.lstrip())]) if len(line) > width else [line])
        )


def is_terminal() -> bool:
    """Return True if progress bars can be drawn."""
    return sys.stderr.isatty() and not os.environ.get("CI")


def terminal_width() -> int:
    """Return the columns of the terminal, or of `COLUMNS`; without both, lines are not broken."""
    fallback = 80 if is_terminal() else UNLIMITED_WIDTH
    return shutil.get_terminal_size((fallback, 24)).columns


def plain_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Render a table as plain text, as wide as the terminal, without empty lines."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in header:
        table.add_column(name, overflow="fold", min_width=len(name), no_wrap=name == "key")
    for row in rows:
        table.add_row(*row)
    text = StringIO()
    Console(file=text, width=terminal_width(), color_system=None, markup=False, highlight=False, emoji=False).print(
        table
    )
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines() if line.strip())


def wrapped(text: str, indent: str = "") -> list[str]:
    """Break a line at blanks to the width of the terminal; words are not cut."""
    width = max(40, terminal_width())
    return textwrap.wrap(
        " ".join(text.split()), width, initial_indent=indent, subsequent_indent=indent or "    ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def track(items: Iterable[T], description: str, total: int) -> Iterator[T]:
    """Yield items and show progress: a bar on a terminal, else a line per item with the time left."""
    if is_terminal():
        from rich.console import Console
        from rich.progress import track as bar

        yield from bar(items, description, total, console=Console(stderr=True))
        return
    start = time.monotonic()
    for number, item in enumerate(items, 1):
        yield item
        seconds = time.monotonic() - start
        left = f", about {time_in_words(seconds / number * (total - number))} left" if number < total else ""
        logger.info("%s %d/%d %s (%.0f s%s)", description, number, total, name_of(item), seconds, left)


def time_in_words(seconds: float) -> str:
    """Format a time: seconds below two minutes, then minutes, then hours."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def count(number: int, noun: str) -> str:
    """Format a number with its noun in the singular or plural."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def name_of(item: object) -> str:
    """Return a string or an item's `name`, for a tuple that of its first part; empty if there is none."""
    first = item[0] if isinstance(item, tuple) and item else item
    return first if isinstance(first, str) else str(getattr(first, "name", ""))
