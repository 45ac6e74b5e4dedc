"""Errors meant for the user: what is wrong, where, and what to do; each kind has its exit code."""


class CrossModalNetError(Exception):
    """An error whose message is all that the user needs; the console prints it without a traceback."""

    exit_code = 1


class UsageError(CrossModalNetError):
    """A command or a parameter that cannot be meant."""

    exit_code = 2


class DataError(CrossModalNetError):
    """Data that is missing, damaged or contradictory."""

    exit_code = 3


class DivergenceError(DataError):
    """A training whose losses or weights are no longer numbers."""


class ResourceError(CrossModalNetError):
    """The machine lacks something: a program, a package, a GPU, disk, memory, the network."""

    exit_code = 4


class InterruptedRunError(CrossModalNetError):
    """Stopped on request; running the stage again goes on where it stopped."""

    exit_code = 75
