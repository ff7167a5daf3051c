"""How is a file read that may be no image at all?"""

import stat
from pathlib import Path

from diascope.images import ImageError

BYTES_PER_PIXEL = 8  # a file that is larger than its pixels can be is not read into memory


def read_file(path: Path, name: str, max_pixels: int) -> bytes:
    """Return the bytes of a file that may be an image; raises ImageError, in which it is called `name`."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe or device may never end
            raise ImageError(f"{name} is no file.")
        check_length(status.st_size, name, max_pixels)
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{name} cannot be read: {error.strerror}.") from error
    except ValueError as error:  # a name that no file can have
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{name!r} cannot be read: {error}.") from error


def check_length(size: int, name: str, max_pixels: int) -> None:
    """Raise ImageError where a file has more bytes than an image of so many pixels may have."""
    if size > BYTES_PER_PIXEL * max_pixels:
        raise ImageError(f"{name} has {size:,} bytes, more than an image may have.")
