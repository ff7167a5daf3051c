"""What is told of an error that ends a run?"""

import re
from typing import TypeVar

from diascope.errors import DISK_FULL

E = TypeVar("E", bound=Exception)

NO_ROOM = 1_000_000  # bytes
REQUEST = re.compile(  # how MLflow says that nobody answers, or a proxy in front of it: 502, 503
    r"API request to (?:(https?://[^/\s]+)|endpoint)\S* .*?failed with (?:(?:timeout )?exception|error code 5)", re.S
)


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


def find_lost_tracking(error: BaseException | None) -> str:
    """Return that MLflow no longer answers, where that is what an error or what led to it says; "" where it is not."""
    while error is not None:
        if said := lost_tracking(type(error).__name__, str(error)):
            return said
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return ""


def lost_tracking(kind: str, message: str) -> str:
    """Return that MLflow no longer answers, where that is what an error of this kind says; "" where it is not."""
    found = REQUEST.search(message) if kind == "MlflowException" else None
    return f"MLflow{f' at {found[1]}' if found[1] else ''} no longer answers; start it again" if found else ""


def in_a_line(error: BaseException) -> str:
    """Return the kind of an error and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
