"""What went wrong, in one sentence, for the person who gave the input."""

import errno
from collections.abc import Iterable

DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


class InputError(ValueError):
    """What the user gave cannot be used; the message names the file, key or image and says what to do."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """The valid name that is spelled most like `name`, whatever its case; "" where there is none."""
    from difflib import SequenceMatcher

    def likeness(other: str) -> float:
        return SequenceMatcher(None, name.lower(), other.lower()).ratio()

    return max(sorted(valid), key=likeness, default="")


def quoted(names: Iterable[str], most: int = 5) -> str:
    """The first few names in quotes, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(map(repr, every[:most])) + more
