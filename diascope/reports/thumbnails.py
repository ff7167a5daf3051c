"""How do stored images get into a page that needs no other file?"""

import base64
import io

from diascope.errors import InputError
from diascope.images import decode

SIDE = 160  # pixels; shown at up to this size


def data_uri(image: bytes | None, name: str, side: int = SIDE) -> str:
    """A small JPEG of the image as a data URI; empty where there is no image or it cannot be decoded."""
    if image is None:
        return ""
    try:
        picture = decode(image, name=name)
    except InputError:
        return ""  # the page shows a placeholder that says so
    picture.thumbnail((side, side), reducing_gap=2.0)
    small = io.BytesIO()
    picture.save(small, "JPEG", quality=82, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(small.getvalue()).decode("ascii")
