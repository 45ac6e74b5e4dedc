"""Define user-facing errors with their exit codes; map resource errors to remedies."""

import errno
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


class CrossModalNetError(Exception):
    """An error for the user; the console prints its message without a traceback."""

    exit_code = 1


class UsageError(CrossModalNetError):
    """An invalid command or parameter."""

    exit_code = 2


class DataError(CrossModalNetError):
    """Missing, damaged or contradictory data."""

    exit_code = 3


class DivergenceError(DataError):
    """Training losses or weights that are NaN or infinite."""


class ResourceError(CrossModalNetError):
    """A missing or exhausted resource: program, package, GPU, disk, memory, network."""

    exit_code = 4


class InterruptedRunError(CrossModalNetError):
    """A stop on request; running the stage again resumes it."""

    exit_code = 75


def no_model(file: str | Path) -> str:
    """Say that a file of a model is missing, what a model is, and which folders below are models."""
    below = sorted(Path(file).parent.glob("*/card.json")) or sorted(Path(file).parent.glob("*/*/card.json"))
    hint = f" (is it {' or '.join(str(card.parent) for card in below[:3])}?)" if below else ""
    return (
        f"{file} not found{hint}: a model is a folder that `crossmodalnet export` has written, or a file that "
        "`crossmodalnet models pack` has written"
    )


def did_you_mean(word: str, known: Iterable[str], ask: str = "did you mean {}? ") -> str:
    """Propose the closest known word, whatever its case and with O for 0; empty without one."""
    spelled = {name.lower().replace("0", "o"): name for name in known}
    close = get_close_matches(word.lower().replace("0", "o"), spelled, n=1)
    return ask.format(spelled[close[0]]) if close else ""


# errno values, words in messages (C++ and Rust libraries lose errno), problem, remedy.
_PROBLEMS: tuple[tuple[set[int], tuple[str, ...], str, str], ...] = (
    (
        {errno.ENOSPC, errno.EDQUOT, errno.EFBIG},
        ("no space left on device", "file too large", "disk quota exceeded"),
        "no room on the disk",
        "make room and run the same again; it goes on",
    ),
    (
        {errno.EACCES, errno.EPERM, errno.EROFS},
        (),
        "not allowed to write or read",
        "change permissions, or run elsewhere",
    ),
    ({errno.EMFILE, errno.ENFILE}, (), "too many open files", "raise the limit (`ulimit -n`)"),
    (
        set(),
        ("resource temporarily unavailable", "can't start new thread"),
        "too little memory, or too many processes",
        "close other programs, set runtime.workers to 1, or raise the limits (`ulimit -v`, `ulimit -u`)",
    ),
    (
        {errno.ENOMEM},
        # The last one comes from the loader of shared libraries.
        ("out of memory", "allocate memory", "bad_alloc", "failed to allocate", "failed to map segment"),
        "not enough memory",
        "close other programs, take smaller patches, or set runtime.workers and train.devices to 1",
    ),
)


def resource_problem(error: BaseException) -> str | None:
    """Return the exhausted resource and its remedy; None for other errors."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        number = errno.ENOMEM if isinstance(cause, MemoryError) else getattr(cause, "errno", None)
        text = str(cause).lower()
        for numbers, words, problem, remedy in _PROBLEMS:
            if number in numbers or any(word in text for word in words):
                return f"{problem}{_detail(cause)}: {remedy}"
        seen.append(cause)
        cause = cause.__cause__ or cause.__context__
    return None


def _detail(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename:
        return f": {error.filename} ({error.strerror})"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f" ({lines[-1][:200]})" if lines else ""
