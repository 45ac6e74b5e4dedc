"""What a machine lacks, told from the errors of a dozen libraries: one line in place of a traceback."""

import errno

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
_TOO_MANY = (errno.EMFILE, errno.ENFILE)
# Libraries in C++ and Rust keep the words of the system's error and lose its number.
_WORDS = ("no space left on device", "file too large", "disk quota exceeded")
_MEMORY_WORDS = (
    "out of memory",
    "cannot allocate memory",
    "bad_alloc",
    "failed to allocate",
    "can't allocate memory",
    "failed to map segment",  # a shared library, by the loader
)
# Of a process or thread that could not be started, for want of either.
_NO_PROCESS_WORDS = ("resource temporarily unavailable", "can't start new thread")


def what_is_lacking(error: BaseException) -> str | None:
    """Say what to give the machine so that the same command can go on; None for an error of another kind."""
    for one in _chain(error):
        if isinstance(one, OSError) and one.errno in _NO_ROOM:
            return f"no room on the disk{_where(one)} ({one.strerror}): make room and run the same again; it goes on"
        if isinstance(one, OSError) and one.errno in _NOT_ALLOWED:
            return f"not allowed to write or read{_where(one)} ({one.strerror}): change permissions, or run elsewhere"
        if isinstance(one, MemoryError) or (isinstance(one, OSError) and one.errno == errno.ENOMEM):
            return "not enough memory: close other programs, or set runtime.workers and train.devices to 1"
        if isinstance(one, OSError) and one.errno in _TOO_MANY:
            return f"too many open files ({one.strerror}): raise the limit (`ulimit -n`)"
        text = str(one).lower()
        if any(words in text for words in _NO_PROCESS_WORDS):
            return (
                f"too little memory, or too many processes ({_last_line(one)}): close other programs, set "
                "runtime.workers to 1, or raise the limits (`ulimit -v`, `ulimit -u`)"
            )
        if any(words in text for words in _WORDS):
            return f"no room on the disk ({_last_line(one)}): make room and run the same again; it goes on"
        if any(words in text for words in _MEMORY_WORDS):
            return f"not enough memory ({_last_line(one)}): close other programs, or take smaller patches"
    return None


def _chain(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _where(error: OSError) -> str:
    return f": {error.filename}" if error.filename else ""


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
