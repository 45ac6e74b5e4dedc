"""What is wrong with a cohort: findings, shown all at once in one table."""

import logging
import re
from dataclasses import dataclass

from crossmodalnet.errors import DataError
from crossmodalnet.imaging.inspect import Severity
from crossmodalnet.io.console import plain_table

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CohortFinding:
    """One line of the table.

    Attributes:
        severity: an error stops the stage, a warning does not.
        case: subject, row of a table with its subject, `table`, or `all`.
        file: file as the user knows it, empty where the finding concerns none.
        what: the fault.
        remedy: what to do about it.
    """

    severity: Severity
    case: str
    file: str
    what: str
    remedy: str


def require_sound(findings: list[CohortFinding]) -> None:
    """Log warnings, stop on errors; either way all findings are shown in one table.

    Raises:
        DataError: at least one finding is an error; the message is the table.
    """
    num_errors = sum(finding.severity == "error" for finding in findings)
    summary = f"integrity check: {num_errors} error(s), {len(findings) - num_errors} warning(s)"
    if num_errors:
        raise DataError(
            f"{summary}\n{table(findings)}\nnothing was written: correct the files and run the stage again"
        )
    if findings:
        logger.warning("%s\n%s", summary, table(findings))
    else:
        logger.info("%s", summary)


def table(findings: list[CohortFinding]) -> str:
    """Render findings as plain text, errors first, then by case; as wide as the terminal."""
    ordered = sorted(findings, key=lambda f: (f.severity, _natural(f.case), f.file, f.what))
    rows = [
        (
            f.severity,
            shown(f.case),
            shown(f.file),
            *(shown(" ".join(text.split("\n"))) for text in (f.what, f.remedy)),
        )
        for f in ordered
    ]
    return plain_table(("severity", "case", "file", "what", "remedy"), rows)


def shown(text: str) -> str:
    r"""Give a text in which a file's name cannot move the cursor, hide, or run backwards: signs are written out.

    >>> shown("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def _natural(text: str) -> list[str | int]:
    """Sort `row 10` after `row 9`: text and numbers in turn."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", text)]
