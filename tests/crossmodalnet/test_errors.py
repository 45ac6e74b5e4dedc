import errno

import pytest

from crossmodalnet.errors import resource_problem


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "x.nii"), "no room on the disk: x.nii"),
        (OSError(errno.EFBIG, "File too large"), "no room on the disk"),
        (RuntimeError("ITK ERROR\nNo space left on device"), "no room on the disk"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "not allowed to write or read: /x"),
        (OSError(errno.EROFS, "Read-only file system"), "not allowed"),
        (MemoryError(), "not enough memory"),
        (ImportError("libtorch.so: failed to map segment: Cannot allocate memory"), "not enough memory"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "not enough memory"),
        (RuntimeError("Resource temporarily unavailable"), "too little memory, or too many processes"),
        (RuntimeError("can't start new thread"), "too little memory, or too many processes"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "too little memory, or too many"),
        (OSError(errno.EMFILE, "Too many open files"), "too many open files"),
    ],
)
def test_what_the_machine_lacks_is_one_line(error: Exception, says: str) -> None:
    found = resource_problem(error)
    assert found is not None
    assert found.startswith(says)
    assert "\n" not in found


def test_it_is_found_behind_other_errors_and_not_where_it_is_not() -> None:
    error = ValueError("x cannot be written")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert resource_problem(error) is not None
    assert resource_problem(ValueError("a bug")) is None
