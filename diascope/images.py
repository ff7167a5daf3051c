"""How does a file become pixels? The only decoder: what it gives is what is hashed, trained on and served."""

import hashlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from diascope.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset as Dicom

MAX_PIXELS = 100_000_000
INGESTED = sys.maxsize  # pixels of an image of a stored dataset: whether it is too large was decided when it came in
DEFLATED = b"1.2.840.10008.1.2.1.99"  # a transfer syntax that is inflated before anything can be checked
MOST_VALUES = 65_536  # that a table is made for
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF")

# `decode` checks every header against its own limit; Pillow's fixed one would refuse what a configuration allows.
Image.MAX_IMAGE_PIXELS = None


class ImageError(InputError):
    """The bytes cannot be used as an image: they are damaged, unless a kind of its own says otherwise."""


class NotAnImage(ImageError):
    """The bytes are of no kind that can be read."""


class TooManyPixels(ImageError):
    """The header says more pixels than are accepted; nothing else was decoded."""

    def __init__(self, sentence: str, width: int = 0, height: int = 0) -> None:
        super().__init__(sentence)
        self.width = width
        self.height = height


@dataclass(frozen=True)
class ImageFacts:
    """What the checks and the index need to know of an image; width and height are those of the upright image."""

    width: int
    height: int
    mode: str  # of the file: Pillow's mode, or the photometric interpretation of a DICOM file
    sha256: str
    phash: int
    contrast: float


def decode(data: bytes, *, name: str = "image", max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode PNG, JPEG, BMP, TIFF, WebP, GIF (first frame) or DICOM, recognised by content.

    Returns an upright RGB image of 8 bits: alpha is composited on black, deeper grey is scaled linearly from its
    minimum and maximum, DICOM is shown through its rescale and window. Raises ImageError.
    """
    return _decode(data, name, max_pixels)[0]


def resize(image: Image.Image, size: int) -> np.ndarray:
    """Stretch to `uint8 (size, size, 3)`, bilinear with antialiasing."""
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image)


def pixel_hash(image: Image.Image) -> str:
    """SHA-256 in hex of mode, size and pixels: equal for equal pictures, however they are encoded."""
    digest = hashlib.sha256(f"{image.mode} {image.width}x{image.height}\n".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


def perceptual_hash(image: Image.Image) -> int:
    """64 bits that similar pictures share: which of the 8x8 lowest DCT frequencies exceed their median.

    Zauner, Implementation and benchmarking of perceptual image hash functions (2010), section 3.2.1.
    """
    grey = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.LANCZOS), dtype=np.float64)
    cosines = _low_cosines()
    # Rounded, or the signs of what is zero but for rounding errors would differ between machines.
    frequencies = np.round(cosines @ grey @ cosines.T, 3)
    bits = frequencies > np.median(frequencies)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def contrast(image: Image.Image) -> float:
    """Standard deviation of the grey values, which run from 0 to 255; near 0 the image is blank."""
    counts = np.asarray(image.convert("L").histogram(), dtype=np.float64)
    share, values = counts / counts.sum(), np.arange(256)
    mean = share @ values
    return float(np.sqrt(share @ (values - mean) ** 2))


def facts(data: bytes, *, name: str = "image", max_pixels: int = MAX_PIXELS) -> ImageFacts:
    """Decode once and describe; raises ImageError."""
    image, mode = _decode(data, name, max_pixels)
    grey = image.convert("L")
    return ImageFacts(
        image.width,
        image.height,
        mode,
        pixel_hash(image),
        perceptual_hash(grey),
        contrast(grey),
    )


@cache
def _low_cosines() -> np.ndarray:
    """The eight lowest rows of the DCT-II of length 32."""
    return np.cos(np.pi / 32 * np.outer(np.arange(8), np.arange(32) + 0.5))


def _decode(data: bytes, name: str, max_pixels: int) -> tuple[Image.Image, str]:
    if not data:
        raise ImageError(f"{name} is empty.")
    try:
        return _decode_dicom(data, name, max_pixels) if _is_dicom(data) else _decode_file(data, name, max_pixels)
    except ImageError:
        raise
    except UnidentifiedImageError:
        kinds = "PNG, JPEG, BMP, TIFF, WebP, GIF and DICOM are"
        raise NotAnImage(f"{name} is not an image that can be read ({kinds}).") from None
    except Exception as error:  # decoders meet damaged bytes with many kinds of errors
        raise ImageError(f"{name} is a damaged or incomplete image ({' '.join(str(error).split())}).") from error


def _check_size(width: int, height: int, name: str, max_pixels: int) -> None:
    if width * height > max_pixels:
        sentence = f"{name} says that it has {width:,} x {height:,} pixels, more than the {max_pixels:,} "
        raise TooManyPixels(f"{sentence}that dataset.max_pixels allows.", width, height)


def _decode_file(data: bytes, name: str, max_pixels: int) -> tuple[Image.Image, str]:
    image: Image.Image = Image.open(BytesIO(data), formats=FORMATS)
    _check_size(*image.size, name, max_pixels)
    mode = image.mode
    image.load()
    if 0x0112 in image.getexif():  # orientation
        ImageOps.exif_transpose(image, in_place=True)
    return _to_rgb(image), mode


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(_by_value(_stretch, np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        rgba = image if image.mode == "RGBA" else image.convert("RGBA")
        black = Image.new("RGB", rgba.size)
        black.paste(rgba, mask=rgba.getchannel("A"))
        return black
    return image if image.mode == "RGB" else image.convert("RGB")


def _stretch(values: np.ndarray) -> np.ndarray:
    """Scale linearly so that the smallest finite value becomes 0 and the largest 255."""
    low, high = np.inf, -np.inf
    for block in _blocks(values):
        finite = block[np.isfinite(block)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    stretched = np.zeros(values.shape, np.uint8)
    if high > low:
        for block, target in zip(_blocks(values), _blocks(stretched), strict=True):
            known = np.nan_to_num(block.astype(np.float64), nan=low, posinf=high, neginf=low)
            target[:] = _to_bytes((known - low) / (high - low))
    return stretched


def _by_value(show: Callable[[np.ndarray], np.ndarray], values: np.ndarray) -> np.ndarray:
    """Return show(values) as bytes, computed once for each value that occurs.

    `show` must look at each value alone, or at the range of all of them. A deep image has far fewer values than
    pixels, and takes 40 bytes per pixel where each step makes a new array of float64.
    """
    low = int(values.min()) if values.dtype.kind in "iu" and values.size else 0
    if values.dtype.kind not in "iu" or not values.size or int(values.max()) - low >= MOST_VALUES:
        return show(values)
    table = np.zeros(int(values.max()) - low + 1, np.uint8)
    for block in _blocks(values):
        table[block.astype(np.intp) - low] = 1
    occurring = np.flatnonzero(table)
    table[occurring] = show((occurring + low).astype(values.dtype))
    shown = np.empty(values.shape, np.uint8)
    for block, target in zip(_blocks(values), _blocks(shown), strict=True):
        target[:] = table[block.astype(np.intp) - low]
    return shown


def _blocks(values: np.ndarray) -> Iterator[np.ndarray]:
    """Yield some rows after the other, a million values or so each."""
    rows = max(1, 2**20 * len(values) // max(1, values.size))
    return (values[start : start + rows] for start in range(0, len(values), rows))


def _to_bytes(shares: np.ndarray) -> np.ndarray:
    return np.round(np.clip(shares, 0, 1) * 255).astype(np.uint8)


def _is_dicom(data: bytes) -> bool:
    return data[128:132] == b"DICM"


def _decode_dicom(data: bytes, name: str, max_pixels: int) -> tuple[Image.Image, str]:
    from pydicom import dcmread
    from pydicom.pixels import apply_color_lut, pixel_array

    if DEFLATED in data:
        raise ImageError(f"{name} is a deflated DICOM file; store it with another transfer syntax.")
    dicom = dcmread(BytesIO(data))
    if "Rows" not in dicom or "Columns" not in dicom:
        raise ImageError(f"{name} is a DICOM file without an image.")
    _check_size(int(dicom.Columns), int(dicom.Rows), name, max_pixels)
    mode = str(dicom.PhotometricInterpretation)
    values = pixel_array(dicom, index=0)
    if mode == "PALETTE COLOR":
        values = apply_color_lut(values, dicom)[..., :3]
        full = np.iinfo(values.dtype).max
    elif values.ndim == 3:
        full = 2 ** int(dicom.BitsStored) - 1
    else:
        grey = _by_value(partial(_displayed, dicom=dicom), values)
        return Image.fromarray(255 - grey if mode == "MONOCHROME1" else grey).convert("RGB"), mode
    return Image.fromarray(values if full == 255 else _to_bytes(values / full)), mode


def _displayed(values: np.ndarray, dicom: "Dicom") -> np.ndarray:
    """Grey values as a viewer shows them: modality transform, then VOI LUT, window, or the whole range.

    DICOM PS3.3, sections C.11.1 (modality LUT) and C.11.2 (VOI LUT).
    """
    from pydicom.pixels import apply_modality_lut, apply_voi

    values = apply_modality_lut(values, dicom)
    if dicom.get("VOILUTSequence"):
        return _to_bytes(apply_voi(values, dicom) / (2 ** dicom.VOILUTSequence[0].LUTDescriptor[2] - 1))
    centre, width = (_first(dicom.get(key)) for key in ("WindowCenter", "WindowWidth"))
    if centre is None or width is None:
        return _stretch(values)
    function = dicom.get("VOILUTFunction", "LINEAR")
    if function == "SIGMOID":
        return _to_bytes(1 / (1 + np.exp(-4 * (values - centre) / max(width, 1e-6))))
    if function != "LINEAR_EXACT":
        centre, width = centre - 0.5, width - 1
    return _to_bytes((values - centre) / max(width, 1e-6) + 0.5)


def _first(value: object) -> float | None:
    """The first of a DICOM attribute's values, which may be one, several or none."""
    from pydicom.multival import MultiValue

    if isinstance(value, MultiValue):
        value = value[0] if value else None
    return None if value is None or value == "" else float(str(value))
