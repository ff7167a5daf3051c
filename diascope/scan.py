"""What does decoding every file once show?"""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from diascope.checks import Scanned, is_blank
from diascope.engine import ahead
from diascope.errors import InputError
from diascope.images import decode, facts
from diascope.progress import Progress
from diascope.reading import read_file
from diascope.records import Record


def scan(records: Sequence[Record], max_pixels: int, progress: Progress | None = None) -> Iterator[Scanned]:
    """Decode every file once, on all cores, in the order given; no more than a few at a time are in memory."""
    for number, one in enumerate(ahead(partial(_scan_one, max_pixels), records), start=1):
        if progress:
            progress("check images", number, len(records))
        yield one


def _scan_one(max_pixels: int, record: Record) -> Scanned:
    try:
        data = read_file(record.path, record.name, max_pixels)
        found = facts(data, name=record.name, max_pixels=max_pixels)
    except InputError as error:
        return Scanned(record, None, str(error))
    if not is_blank(found):
        return Scanned(record, found)
    pixels = np.asarray(decode(data, name=record.name, max_pixels=max_pixels))
    return Scanned(record, found, brightest=int(pixels.max()))
