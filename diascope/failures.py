"""What is told of an error that ends a run?"""

from typing import TypeVar

from diascope.errors import DISK_FULL

E = TypeVar("E", bound=Exception)

NO_ROOM = 1_000_000  # bytes


def find_cause(error: BaseException | None, kind: type[E]) -> E | None:
    """Return the error of this kind among an error and what led to it."""
    while error is not None and not isinstance(error, kind):
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return error


def is_disk_full(error: BaseException) -> bool:
    """Return whether an error came of a full disk, whatever the library calls it that could not write."""
    from shutil import disk_usage
    from tempfile import gettempdir

    storage = find_cause(error, OSError)
    if storage and storage.errno in DISK_FULL:
        return True
    try:
        return disk_usage(gettempdir()).free < NO_ROOM  # OpenVINO and HDF5 have words of their own for it
    except OSError:  # no such folder can be had, which the error itself says
        return False


def in_a_line(error: BaseException) -> str:
    """Return the kind of an error and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
