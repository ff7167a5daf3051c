"""What does decoding every file once show?"""

import stat
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from diascope.checks import Scanned, is_blank
from diascope.engine import ahead
from diascope.errors import InputError
from diascope.images import decode, facts
from diascope.progress import Progress
from diascope.records import Record

BYTES_PER_PIXEL = 8  # a file that is larger than its pixels can be is not read into memory


def scan(records: Sequence[Record], max_pixels: int, progress: Progress | None = None) -> Iterator[Scanned]:
    """Decode every file once, on all cores, in the order given; no more than a few at a time are in memory."""
    for number, one in enumerate(ahead(partial(_scan_one, max_pixels), records), start=1):
        if progress:
            progress("check images", number, len(records))
        yield one


def _scan_one(max_pixels: int, record: Record) -> Scanned:
    try:
        status = record.path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe or device may never end
            return Scanned(record, None, f"{record.name} is no file.")
        size = status.st_size
        if size > BYTES_PER_PIXEL * max_pixels:
            return Scanned(record, None, f"{record.name} has {size:,} bytes, more than an image may have.")
        data = record.path.read_bytes()
        found = facts(data, name=record.name, max_pixels=max_pixels)
    except InputError as error:
        return Scanned(record, None, str(error))
    except OSError as error:
        return Scanned(record, None, f"{record.name} cannot be read: {error.strerror}.")
    if not is_blank(found):
        return Scanned(record, found)
    pixels = np.asarray(decode(data, name=record.name, max_pixels=max_pixels))
    return Scanned(record, found, brightest=int(pixels.max()))
