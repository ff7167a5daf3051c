"""Where did the network look?"""

import struct
import textwrap
import zlib
from functools import cache
from io import BytesIO
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

CAUTION = "Where the network looked, not where the lesion is."
LONGEST = 1024  # pixels of the picture that is drawn on; a screen shows no more
NARROWEST = 260  # pixels that the caution needs to be legible
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
    colours = _palette()[_strengths(activation_map, class_index, size)]
    return Image.frombytes("RGBA", size, colours.tobytes())


def explain(image: Image.Image, activation_map: np.ndarray, class_index: int, *, part: Part = "overlay") -> bytes:
    """Return a PNG of the map over the picture with its caution below, the map alone, or the picture alone.

    `image` is RGB, as decoded; larger ones are reduced to 1024 pixels. All three carry the caution in a tEXt chunk.
    """
    if part == "image":
        return picture(image)
    below = _reduced(image)
    if part == "map":
        return _map(_strengths(activation_map, class_index, below.size))
    drawn = heat(activation_map, class_index, below.size)
    overlay = below.copy()
    overlay.paste(drawn, mask=drawn)
    return _stored(_with_caution(overlay))


def picture(image: Image.Image) -> bytes:
    """Return the picture alone as PNG, for formats that browsers do not show; no map is needed for it."""
    return _compressed(_reduced(image))


def _strengths(activation_map: np.ndarray, class_index: int, size: tuple[int, int]) -> np.ndarray:
    """How much each pixel (height, width) speaks for a class, 0 to 255."""
    evidence = activation_map.astype(np.float32)
    evidence = evidence - evidence.mean(axis=-1, keepdims=True)
    strongest = max(float(evidence.max(initial=0)), np.finfo(np.float32).tiny)
    place = Image.fromarray(np.ascontiguousarray(evidence[..., class_index] / strongest))
    smooth = np.asarray(place.resize(size, Image.Resampling.BICUBIC))
    return np.clip(255 * smooth, 0, 255).astype(np.uint8)


def _map(strengths: np.ndarray) -> bytes:
    """Encode the map with a palette: a byte per pixel, a third of the size and of the time of four."""
    colours = _palette().view(np.uint8).reshape(256, 4)
    image = Image.fromarray(strengths, "P")
    image.putpalette(colours[:, :3].tobytes())
    return _compressed(image, transparency=colours[:, 3].tobytes())


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


def _compressed(image: Image.Image, **options: bytes) -> bytes:
    caution = PngImagePlugin.PngInfo()
    caution.add_text("Caution", CAUTION)
    encoded = BytesIO()
    image.save(encoded, "PNG", compress_level=1, pnginfo=caution, **options)
    return encoded.getvalue()


def _stored(image: Image.Image) -> bytes:
    """Encode RGB without compression: Pillow tries five filters on every row, which takes longer than the network.

    PNG (ISO/IEC 15948:2004), section 5; a reader sees no difference.
    """
    rows = np.zeros((image.height, 1 + 3 * image.width), np.uint8)  # each begins with its filter: none
    rows[:, 1:] = np.asarray(image).reshape(image.height, -1)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [
            _chunk(b"IHDR", struct.pack(">IIBBBBB", image.width, image.height, 8, 2, 0, 0, 0)),
            _chunk(b"tEXt", b"Caution\0" + CAUTION.encode("latin-1")),
            _chunk(b"IDAT", zlib.compress(rows.data, 0)),
            _chunk(b"IEND", b""),
        ]
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
