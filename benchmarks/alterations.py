"""How is an image altered so that a person would still name it, or would no longer trust it?"""

from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image, ImageFilter, ImageOps

Alteration = Callable[[Image.Image, np.random.Generator], Image.Image]
NOISE = 10  # standard deviation, of 255
BLUR = 0.01  # of the shorter side: the radius of the Gaussian
BORDER = 0.1  # of each side that is cut off
QUALITY = 60  # of JPEG
DARKER = 0.7  # times as bright


def inverted(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """White becomes black."""
    return ImageOps.invert(image)


def noisy(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The same grey noise in all channels."""
    pixels = np.asarray(image, np.float32)
    noise = rng.normal(0, NOISE, (*pixels.shape[:2], 1))
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


def blurred(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Out of focus."""
    return image.filter(ImageFilter.GaussianBlur(BLUR * min(image.size)))


def cropped(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Without its border."""
    x, y = (round(BORDER * side) for side in image.size)
    return image.crop((x, y, image.width - x, image.height - y))


def compressed(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """As a JPEG file that was saved to be small."""
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return Image.open(buffer).convert("RGB")


def darker(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Every value lowered by the same share."""
    return image.point(lambda value: DARKER * value)


def halved(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """At half the width and height."""
    return image.reduce(2) if min(image.size) > 1 else image


def turned(way: Image.Transpose) -> Alteration:
    """Turned or mirrored, without any pixel changed."""
    return lambda image, rng: image.transpose(way)


ALTERATIONS: dict[str, Alteration] = {
    "inverted": inverted,
    f"with noise (standard deviation {NOISE})": noisy,
    f"blurred (radius {100 * BLUR:g} % of the shorter side)": blurred,
    f"{100 * BORDER:g} % cut off on each side": cropped,
    f"JPEG of quality {QUALITY}": compressed,
    f"{100 * (1 - DARKER):g} % darker": darker,
    "at half the size": halved,
    "upside down": turned(Image.Transpose.ROTATE_180),
    "turned by 90°": turned(Image.Transpose.ROTATE_90),
    "mirrored": turned(Image.Transpose.FLIP_LEFT_RIGHT),
}
