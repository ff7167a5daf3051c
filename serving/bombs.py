"""Does a file cost far more than its size and its picture say? Looked at before anything is decoded."""

import re
import struct
from io import BytesIO
from math import inf

from PIL import Image

from serving.refusals import Refusal

MOST_SCANS = 64  # of a progressive JPEG: each goes over the whole picture, encoders make about ten
MOST_SEGMENTS = 2_000  # of a JPEG before its picture
MOST_CHUNKS = 100_000  # of a PNG
MOST_BLOCKS = 10_000  # of a GIF before its first picture
MOST_PIECES = 100_000  # strips or tiles of a TIFF
MOST_ITEMS = 50_000  # of all sequences of a DICOM file

_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)
_START_OF_SCAN, _END_OF_IMAGE, _NO_LENGTH = 0xDA, 0xD9, (0x01, 0xD8)
_ITEMS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")  # in both byte orders
_COMPRESSED = b"1.2.840.10008.1.2.4."  # JPEG and JPEG 2000
_RUN_LENGTHS = b"1.2.840.10008.1.2.5"
_TIFF = re.compile(rb"II[\x2a\x2b]\x00|MM\x00[\x2a\x2b]|II\x00\x2a|MM\x2a\x00")
_TILE_SIDES = (322, 323)
_PLACES = (273, 324)  # of strips and tiles
_NUMBERS = {1: "B", 3: "H", 4: "I", 16: "Q"}  # types of a TIFF's values


def check_cost(data: bytes, name: str, max_pixels: int) -> None:
    """Refuse a file that would take minutes or gigabytes to decode; raises Refusal."""
    if data[128:132] == b"DICM":
        _check_dicom(data, name, max_pixels)
    elif data.startswith(b"\xff\xd8"):
        _check_jpeg(data, name)
    elif data.startswith(b"\x89PNG"):
        _check_png(data, name)
    elif data.startswith(b"GIF8"):
        _check_gif(data, name)
    elif _TIFF.match(data):
        _check_tiff(data, name, max_pixels)


def _check_jpeg(data: bytes, name: str) -> None:
    place, segments, scans = 2, 0, 0
    while (found := _MARKER.search(data, place)) and (marker := found[1][0]) != _END_OF_IMAGE:
        if not scans:
            segments += 1 + found.start() - place  # stray bytes are read one by one
        scans += marker == _START_OF_SCAN
        if segments > MOST_SEGMENTS or scans > MOST_SCANS:
            raise _too_many_parts(name)
        place = found.end() if marker in _NO_LENGTH else found.end() + _number(data, found.end(), ">H")


def _check_png(data: bytes, name: str) -> None:
    place, chunks = 8, 0
    while place < len(data) and len(data) > 12 * MOST_CHUNKS:
        place += 12 + _number(data, place, ">I")
        chunks += 1
        if chunks > MOST_CHUNKS:
            raise _too_many_parts(name)


def _check_gif(data: bytes, name: str) -> None:
    place, blocks = 13, 0
    if len(data) > 10 and data[10] & 0x80:
        place += 3 * 2 ** ((data[10] & 7) + 1)
    while data[place : place + 1] not in (b",", b";", b""):
        blocks += 1
        if data[place] == ord("!"):
            place += 2
            while size := _number(data, place, "B"):
                place += 1 + size
                blocks += 1
                if blocks > MOST_BLOCKS:
                    raise _too_many_parts(name)
        place += 1
        if blocks > MOST_BLOCKS:
            raise _too_many_parts(name)


def _check_tiff(data: bytes, name: str, max_pixels: int) -> None:
    """A tile is decoded whole, however small the picture is."""
    order = "<" if data.startswith(b"II") else ">"
    large = 0x2B in data[2:4]
    place = _number(data, 8, f"{order}Q") if large else _number(data, 4, f"{order}I")
    count = _number(data, place, f"{order}Q" if large else f"{order}H")
    start, step, value = (place + 8, 20, 12) if large else (place + 2, 12, 8)
    sides: dict[int, float] = {}
    for entry in range(start, min(start + step * count, len(data)), step):
        tag, kind = _number(data, entry, f"{order}H"), _number(data, entry + 2, f"{order}H")
        if tag in _PLACES and _number(data, entry + 4, f"{order}{'Q' if large else 'I'}") > MOST_PIECES:
            raise _too_many_parts(name)
        if tag in _TILE_SIDES:
            number = _NUMBERS.get(kind)
            side = _number(data, entry + value, f"{order}{number}") if number else inf
            sides[tag] = max(side, sides.get(tag, 0))
    if len(sides) == len(_TILE_SIDES) and sides[322] * sides[323] > max_pixels:
        raise _too_large(name, "a tile of it has", max_pixels)


def _check_dicom(data: bytes, name: str, max_pixels: int) -> None:
    if max(data.count(item) for item in _ITEMS) > MOST_ITEMS:
        raise _too_many_parts(name)
    if _COMPRESSED not in data and _RUN_LENGTHS not in data:
        return
    try:
        frame, size = _first_frame(data)
        if _RUN_LENGTHS in data and any(_unpacks_beyond(each, size) for each in _segments(frame)):
            raise _too_large(name, "its run lengths make", max_pixels)
        if _COMPRESSED in data:
            width, height = Image.open(BytesIO(frame), formats=("JPEG", "JPEG2000")).size
            if width * height > max_pixels:
                raise _too_large(name, "the picture in it has", max_pixels)
            _check_jpeg(frame, name)
    except Refusal:
        raise
    except Exception as error:  # as when decoding, damaged bytes come out as many kinds of errors
        why = " ".join(str(error).split())
        raise Refusal(422, "damaged", f"{name} is a damaged or incomplete image ({why}).") from error


def _first_frame(data: bytes) -> tuple[bytes, int]:
    """The frame that is shown, encoded, and the bytes of it in memory."""
    from pydicom import dcmread
    from pydicom.encaps import get_frame

    dicom = dcmread(BytesIO(data))
    offsets = None
    if "ExtendedOffsetTable" in dicom and "ExtendedOffsetTableLengths" in dicom:
        offsets = dicom.ExtendedOffsetTable, dicom.ExtendedOffsetTableLengths
    count = int(dicom.get("NumberOfFrames") or 1)
    frame = get_frame(dicom.PixelData, 0, extended_offsets=offsets, number_of_frames=count)
    return frame, int(dicom.Rows) * int(dicom.Columns) * int(dicom.SamplesPerPixel) * int(dicom.BitsAllocated) // 8


def _segments(frame: bytes) -> list[bytes]:
    """The parts of a frame that is packed by run lengths (DICOM PS3.5, annex G)."""
    count, *starts = struct.unpack_from("<16I", frame)
    ends = [*starts[1:count], len(frame)]
    return [frame[start:end] for start, end in zip(starts[:count], ends, strict=True)]


def _unpacks_beyond(packed: bytes, most: int) -> bool:
    place, size = 0, 0
    while place < len(packed) and size <= most:
        head = packed[place]
        if head > 128:
            place, size = place + 2, size + 257 - head
        else:
            literal = head + 1 if head < 128 else 0
            place, size = place + 1 + literal, size + literal
    return size > most + 1  # a padded end


def _number(data: bytes, place: int, form: str) -> int:
    """The number at a place, 0 behind the end."""
    return struct.unpack_from(form, data, place)[0] if place + struct.calcsize(form) <= len(data) else 0


def _too_many_parts(name: str) -> Refusal:
    return Refusal(422, "bomb", f"{name} has far more parts than a picture needs; save it anew.")


def _too_large(name: str, what: str, max_pixels: int) -> Refusal:
    return Refusal(413, "bomb", f"{name} is larger than it says: {what} more than the {max_pixels:,} pixels accepted.")
