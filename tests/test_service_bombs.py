"""Are files refused that would take minutes or gigabytes, and none that doctors have?"""

import io
import struct
import time
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from serving.bombs import MOST_SCANS, check_cost
from serving.refusals import Refusal

LIMIT = 36_000_000


def encoded(kind: str, **options: object) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def scans(count: int) -> bytes:
    """A progressive JPEG that goes over its picture again and again."""
    data = encoded("JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * (count - data.count(b"\xff\xda")) + data[-2:]


def with_segments(segment: bytes, count: int = 100_000) -> bytes:
    data = encoded("JPEG")
    return data[:2] + segment * count + data[2:]


def png_chunks() -> bytes:
    def chunk(kind: bytes) -> bytes:
        return struct.pack(">I", 0) + kind + struct.pack(">I", zlib.crc32(kind))

    data = encoded("PNG")
    return data[:33] + chunk(b"abCd") * 200_000 + data[33:]


def gif_comments() -> bytes:
    data = encoded("GIF")
    place = 13 + 3 * 2 ** ((data[10] & 7) + 1)
    return data[:place] + b"!\xfe\x01a\0" * 100_000 + data[place:]


def tile(side: int, kind: int = 4, marks: str = "<", repeated: bool = False) -> bytes:
    """A TIFF of 100 x 100 pixels in tiles of `side` x `side`."""
    tags = [(256, 4, 100), (257, 4, 100), (258, 3, 8), (259, 3, 8), (262, 3, 1), (277, 3, 1)]
    tags += [(322, kind, side), (323, kind, side)] + [(322, 4, 16), (323, 4, 16)] * repeated
    entries = b"".join(
        struct.pack(f"{marks}HHI", tag, kind, 1)
        + (struct.pack(f"{marks}Hxx", value) if kind == 3 else struct.pack(f"{marks}I", value))
        for tag, kind, value in tags
    )
    start = b"II*\0" if marks == "<" else b"MM\0*"
    return start + struct.pack(f"{marks}I", 8) + struct.pack(f"{marks}H", len(tags)) + entries + bytes(4)


def strips() -> bytes:
    """A TIFF in strips of one pixel."""
    count, places = 200_000, 200
    tags = [(256, 4, 1, 1), (257, 4, 1, count), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    tags += [(273, 4, count, places), (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, count, places + 4 * count)]
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return head.ljust(places, b"\0") + struct.pack("<I", 8) * count + struct.pack("<I", 1) * count


def dicom(syntax: bytes, *elements: tuple[int, int, bytes, bytes], rows: int = 10) -> bytes:
    """An explicit little-endian DICOM file of rows x rows pixels."""

    def element(group: int, number: int, kind: bytes, value: bytes) -> bytes:
        head = struct.pack("<HH2s", group, number, kind)
        if kind in (b"OB", b"SQ"):
            return head + struct.pack("<HI", 0, 0xFFFFFFFF) + value + b"\xfe\xff\xdd\xe0\0\0\0\0"
        return head + struct.pack("<H", len(value)) + value

    numbers = {2: 1, 0x10: rows, 0x11: rows, 0x100: 8, 0x101: 8, 0x102: 7, 0x103: 0}
    described = [(0x28, number, b"US", struct.pack("<H", value)) for number, value in numbers.items()]
    described.append((0x28, 4, b"CS", b"MONOCHROME2 "))
    syntax += b"\0" * (len(syntax) % 2)
    body = b"".join(element(*each) for each in sorted([*described, *elements]))
    return bytes(128) + b"DICM" + element(2, 0x10, b"UI", syntax) + body


def item(data: bytes) -> bytes:
    return b"\xfe\xff\x00\xe0" + struct.pack("<I", len(data)) + data


def around(frame: bytes, syntax: bytes, pieces: int = 1) -> bytes:
    """A DICOM file of 10 x 10 pixels, by its header, around a frame that is something else."""
    step = -(-len(frame) // pieces)
    fragments = b"".join(item(frame[start : start + step]) for start in range(0, len(frame), step))
    return dicom(syntax, (0x7FE0, 0x10, b"OB", item(b"") + fragments))


def jpeg2000(side: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (side, side)).save(buffer, "JPEG2000")
    return buffer.getvalue()


JPEG, JPEG_2000, RUN_LENGTHS = (b"1.2.840.10008.1.2." + end for end in (b"4.50", b"4.90", b"5"))
RUNS = struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\x00" * 1000  # 128 bytes of every two
BOMBS: dict[str, tuple[int, Callable[[], bytes]]] = {
    "scans": (422, lambda: scans(MOST_SCANS + 1)),
    "segments": (422, lambda: with_segments(b"\xff\xe5\0\2")),
    "filling": (422, lambda: with_segments(b"\xff")),
    "stray bytes": (422, lambda: with_segments(b"\xff\0")),
    "chunks": (422, png_chunks),
    "comments": (422, gif_comments),
    "tile": (413, lambda: tile(40_000)),
    "tile in short numbers": (413, lambda: tile(60_000, 3)),
    "tile, big-endian": (413, lambda: tile(40_000, marks=">")),
    "tile said twice": (413, lambda: tile(40_000, repeated=True)),
    "tile in an odd type": (413, lambda: tile(16, 12)),
    "strips": (422, strips),
    "items": (422, lambda: dicom(RUN_LENGTHS, (8, 0x1140, b"SQ", item(b"") * 60_000))),
    "JPEG 2000 inside": (413, lambda: around(jpeg2000(7_000), JPEG_2000)),
    "JPEG 2000 inside, in pieces": (413, lambda: around(jpeg2000(7_000), JPEG_2000, 9)),
    "scans inside": (422, lambda: around(scans(MOST_SCANS + 1), JPEG, 5)),
    "run lengths": (413, lambda: around(RUNS, RUN_LENGTHS)),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_are_refused_at_once(kind: str) -> None:
    status, make = BOMBS[kind]
    data = make()
    start = time.process_time()
    with pytest.raises(Refusal, match=r"^scan\.x .*\.$") as caught:
        check_cost(data, "scan.x", LIMIT)
    assert (caught.value.status, caught.value.kind) == (status, "bomb")
    assert time.process_time() - start < 2  # pydicom's import included


@pytest.mark.parametrize(
    "make",
    [
        lambda: encoded("JPEG"),
        lambda: encoded("JPEG", progressive=True, exif=Image.Exif(), icc_profile=bytes(200_000)),
        lambda: encoded("JPEG", restart_marker_rows=1),
        lambda: scans(MOST_SCANS),
        lambda: encoded("PNG"),
        lambda: encoded("GIF", comment=b"c" * 5000),
        lambda: encoded("GIF", save_all=True, append_images=[Image.new("L", (90, 70))] * 3),
        lambda: encoded("TIFF", compression="tiff_deflate"),
        lambda: encoded("WEBP"),
        lambda: encoded("BMP"),
        lambda: tile(256),
        lambda: around(RUNS[:64] + b"\x9d\x00", RUN_LENGTHS),
        lambda: b"",
        lambda: b"\xff\xd8",
        lambda: b"GIF89a",
        lambda: b"II*\0",
        lambda: b"II+\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ],
)
def test_others_pass(make: Callable[[], bytes]) -> None:
    check_cost(make(), "scan.x", LIMIT)


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_RLE.dcm", "SC_rgb_rle.dcm", "JPEG2000.dcm"])
def test_real_dicom_passes(name: str) -> None:
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    with open(path, "rb") as file:
        check_cost(file.read(), "scan.x", LIMIT)


def test_damaged_dicom_is_told_as_damaged() -> None:
    with pytest.raises(Refusal, match="damaged") as caught:
        check_cost(around(b"nothing", JPEG), "scan.x", LIMIT)
    assert caught.value.status == 422
