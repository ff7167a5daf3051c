"""How long is waited for what takes its time?"""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PAUSE = 5.0  # seconds between two looks


class TooLong(Exception):
    """What was waited for has not happened in time."""


def until(look: Callable[[], T], done: Callable[[T], bool], seconds: float) -> T:
    """Look until what is seen is as wanted, and return it; raises TooLong."""
    end = time.monotonic() + seconds
    while not done(seen := look()):
        if time.monotonic() + PAUSE > end:
            raise TooLong
        time.sleep(PAUSE)
    return seen
