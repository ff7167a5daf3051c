"""Where did the network look?"""

import struct
import textwrap
import zlib
from functools import cache
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

CAUTION = "Where the network looked, not where the lesion is."
LONGEST = 1024  # pixels of the picture that is drawn on; a screen shows no more
NARROWEST = 260  # pixels that the caution needs to be legible
UP = 2  # PNG's filter that subtracts the row above
OPACITY = 0.75  # of the strongest place: the picture stays visible below it
# Plasma (Smith and van der Walt, matplotlib 1.5): lightness rises evenly, also in print and for the colour-blind.
COLOURS = (
    (13, 8, 135),
    (84, 2, 163),
    (139, 10, 165),
    (185, 50, 137),
    (219, 92, 104),
    (244, 136, 73),
    (254, 188, 43),
    (240, 249, 33),
)

Part = Literal["overlay", "map", "image"]


def heat(activation_map: np.ndarray, class_index: int, size: tuple[int, int]) -> Image.Image:
    """Draw how much each place speaks for a class, transparent where nothing does.

    Parameters
    ----------
    activation_map: (height, width, n_classes), what each place adds to each logit (Zhou et al., Learning Deep Features
        for Discriminative Localization, CVPR 2016).
    size: of the picture it is stretched to, (width, height) in pixels.

    Softmax knows differences of logits only, so what a place adds to all classes is taken off. The scale is that of
    the strongest place for any class: a class that little speaks for stays pale. Returns an RGBA image.
    """
    evidence = activation_map.astype(np.float32)
    evidence = evidence - evidence.mean(axis=-1, keepdims=True)
    strongest = max(float(evidence.max(initial=0)), np.finfo(np.float32).tiny)
    place = Image.fromarray(np.ascontiguousarray(evidence[..., class_index] / strongest))
    smooth = np.asarray(place.resize(size, Image.Resampling.BICUBIC))
    colours = _palette()[np.clip(255 * smooth, 0, 255).astype(np.uint8)]
    return Image.frombytes("RGBA", size, colours.tobytes())


def explain(image: Image.Image, activation_map: np.ndarray, class_index: int, *, part: Part = "overlay") -> bytes:
    """Return a PNG of the map over the picture with its caution below, the map alone, or the picture alone.

    `image` is RGB, as decoded; larger ones are reduced to 1024 pixels. All three carry the caution in a tEXt chunk.
    """
    if part == "image":
        return picture(image)
    below = _reduced(image)
    drawn = heat(activation_map, class_index, below.size)
    if part == "map":
        return _png(drawn)
    overlay = below.copy()
    overlay.paste(drawn, mask=drawn)
    return _png(_with_caution(overlay))


def picture(image: Image.Image) -> bytes:
    """Return the picture alone as PNG, for formats that browsers do not show; no map is needed for it."""
    return _png(_reduced(image))


def _reduced(image: Image.Image) -> Image.Image:
    scale = min(1.0, LONGEST / max(image.size))
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image if size == image.size else image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def _with_caution(picture: Image.Image) -> Image.Image:
    """Set a strip of text below the picture, in as many lines as it needs."""
    width = max(picture.width, NARROWEST)
    points = int(np.clip(width / 28, 12, 26))
    font = ImageFont.load_default(points)
    per_line = max(1, int((width - points) / (font.getlength(CAUTION) / len(CAUTION))))
    text = "\n".join(textwrap.wrap(CAUTION, per_line))
    strip = points * (1 + text.count("\n")) * 4 // 3 + points
    whole = Image.new("RGB", (width, picture.height + strip), (22, 22, 26))
    whole.paste(picture, ((width - picture.width) // 2, 0))
    centre = (width / 2, picture.height + strip / 2)
    ImageDraw.Draw(whole).text(centre, text, (255, 224, 130), font, anchor="mm", align="center")
    return whole


@cache
def _palette() -> np.ndarray:
    """Red, green, blue and opacity of the values 0 to 255, as four bytes of one number."""
    values, anchors = np.linspace(0, 1, 256), np.linspace(0, 1, len(COLOURS))
    channels = [np.interp(values, anchors, channel) for channel in zip(*COLOURS, strict=True)]
    colours = np.stack([*channels, 255 * OPACITY * values], axis=1).round().astype(np.uint8)
    return colours.view(np.uint32)[:, 0]


def _png(image: Image.Image) -> bytes:
    """Encode RGB or RGBA with one filter, each row less the one above: half the time of Pillow, which tries all five.

    PNG (ISO/IEC 15948:2004), sections 5 and 9.
    """
    pixels = np.asarray(image)
    rows = pixels.reshape(image.height, -1)
    filtered = np.empty((image.height, 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    deflate = zlib.compressobj(1, strategy=zlib.Z_RLE)
    colour_type = {3: 2, 4: 6}[pixels.shape[2]]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [
            _chunk(b"IHDR", struct.pack(">IIBBBBB", image.width, image.height, 8, colour_type, 0, 0, 0)),
            _chunk(b"tEXt", b"Caution\0" + CAUTION.encode("latin-1")),
            _chunk(b"IDAT", deflate.compress(filtered.data) + deflate.flush()),
            _chunk(b"IEND", b""),
        ]
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
