"""One line of the doctor."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DoctorFinding:
    """One line of the doctor; `remedy` says what to do, or is empty."""

    subject: str
    ok: bool
    text: str
    remedy: str = ""
