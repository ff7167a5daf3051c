"""Which limits does the environment set?"""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from diascope.engine import cpu_count
from diascope.errors import InputError

T = TypeVar("T")

MEGABYTE = 1_000_000
CORES_PER_WORKER = 4  # one Python process feeds about five cores with small networks
MOST_WORKERS = 64  # where there are fewer cores: a slip of the finger would take all memory
PER_CORE = 32  # images that run or wait: with a network of 15 ms the last one waits half a second


@dataclass(frozen=True)
class Settings:
    """What an operator may choose; the defaults are those of docs/serving.md."""

    api_key: str | None
    max_upload: int  # bytes of one request
    max_pixels: int
    max_files: int  # of one request
    capacity: int  # requests that run or wait, in all workers together
    workers: int
    monitoring: Path | None  # folder

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Take the settings from environment variables.

        Raises
        ------
        InputError: one of them is not a number that makes sense.
        """
        number = partial(_number, environment)
        cores = cpu_count()
        folder = environment.get("DIASCOPE_MONITORING", "monitoring").strip()
        return cls(
            api_key=environment.get("DIASCOPE_API_KEY", "").strip() or None,
            max_upload=int(number("DIASCOPE_MAX_UPLOAD_MB", 32.0, float) * MEGABYTE),
            max_pixels=number("DIASCOPE_MAX_PIXELS", 36_000_000, int),
            max_files=number("DIASCOPE_MAX_FILES", 100, int),
            capacity=number("DIASCOPE_CAPACITY", PER_CORE * cores, int),
            workers=number("DIASCOPE_WORKERS", math.ceil(cores / CORES_PER_WORKER), int, max(MOST_WORKERS, cores)),
            monitoring=Path(folder) if folder else None,
        )


def _number(environment: Mapping[str, str], name: str, default: T, kind: Callable[[str], T], below: int = 10**9) -> T:
    """Return a variable's number; raises InputError where it makes no sense."""
    text = environment.get(name, "").strip()
    try:
        value = kind(text) if text else default
        if not 0 < value <= below:  # type: ignore[operator]
            raise ValueError
    except ValueError:
        raise InputError(f"{name} is {text!r}: give a number above 0, at most {below:,}.") from None
    return value
