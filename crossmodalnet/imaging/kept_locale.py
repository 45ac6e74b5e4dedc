"""The locale of the process, which GDCM sets to C: from then on Python would take text files for ASCII."""

import locale
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept_locale() -> Iterator[None]:
    """Give the locale back that there was before, whatever the block did to it; as a decorator likewise."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        yield
    finally:
        locale.setlocale(locale.LC_ALL, before)
