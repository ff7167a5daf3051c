"""How much memory is left for images and uploads? A container that takes more is ended, with all that it holds."""

import ctypes
import logging
import math
import os
from dataclasses import dataclass
from pathlib import Path

import psutil

CGROUPS = Path("/sys/fs/cgroup")
PER_PIXEL = 16  # bytes while an RGBA image is decoded, and drawn upon while another is
FOR_IMAGES = 0.6  # of what is left; the rest is for uploads, which lie in memory twice while a form is taken apart

M_MMAP_THRESHOLD = -3
LARGE_BLOCK = 4_000_000  # bytes; pixels of ordinary images stay in the heap, which is faster

log = logging.getLogger("bentoml.diascope")


@dataclass(frozen=True)
class Room:
    """Limits that hold where the memory is limited, infinite where it is not."""

    pixels: float  # of one image
    uploads: float  # bytes of all uploads that a worker holds


def return_large_blocks() -> None:
    """Let large blocks go back to the system as soon as they are free.

    The GNU C library raises the size from which it does so with every block that is freed (mallopt(3)), and would come
    to keep hundreds of megabytes after a few large images. Other libraries have no such threshold.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)


def room(workers: int, root: Path = CGROUPS) -> Room:
    """Return what one of several workers may take, the model being in memory already."""
    left = min(limit(root), sandbox()) / workers - psutil.Process().memory_info().rss
    found = Room(max(1.0, FOR_IMAGES * left / PER_PIXEL), max(1.0, (1 - FOR_IMAGES) * left / 2))
    if left < math.inf:
        log.info("Memory is limited: images may have %.1f million pixels.", found.pixels / 1e6)
    return found


def limit(root: Path = CGROUPS) -> float:
    """Return the bytes that the control group grants, infinite where it does not limit them (versions 2 and 1)."""
    for path in (root / "memory.max", root / "memory" / "memory.limit_in_bytes"):
        if path.is_file() and (text := path.read_text().strip()).isdecimal():
            return int(text) if int(text) < 2**60 else math.inf  # version 1 has no word for "no limit"
    return math.inf


def sandbox() -> float:
    """Return the bytes that AWS Lambda grants, infinite elsewhere; its sandbox has no control group that says so."""
    megabytes = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "")
    return int(megabytes) * 2**20 if megabytes.isdecimal() else math.inf
