"""What is done to an image between decoding and resizing, so that noise and exposure tell the network less?

Only NumPy and Pillow: it is done in training and in use alike, by `network_input` and nothing else.
"""

from collections.abc import Callable
from functools import cache
from itertools import pairwise

import numpy as np
from PIL import Image

from diascope.images import resize
from diascope.preparation_settings import CLIP_LIMIT, TAILS, TILES, Preparation

LONGEST = 2048  # side in pixels, twice the largest that a network may take
VALUES = 256
WHITE = 240.0  # light that passes through the glass of a slide
TISSUE = 0.15  # optical density in every channel that a pixel of tissue has at least
LEAST_TISSUE = 0.01  # share of the pixels, below which stains cannot be told
MOST_SAMPLES = 20_000  # pixels that stains are estimated from
# Haematoxylin and eosin: optical densities of red, green and blue, and the concentrations they are brought to.
STAINS = np.array([[0.5626, 0.2159], [0.7201, 0.8012], [0.4062, 0.5581]])
CONCENTRATIONS = np.array([1.9705, 1.0308])

Filter = Callable[[Image.Image], Image.Image]


def network_input(image: Image.Image, size: int, preparation: Preparation) -> np.ndarray:
    """Return what a network sees of a decoded RGB image: uint8 (size, size, 3)."""
    return resize(prepare(image, preparation), size)


def prepare(image: Image.Image, preparation: Preparation) -> Image.Image:
    """Return the RGB image with noise taken out first and contrast evened then; grey stays grey.

    A larger image than networks look at is reduced before, which bounds what this takes of time and memory.
    """
    denoise, normalise = DENOISE.get(preparation.denoise), NORMALISE.get(preparation.normalise)
    if denoise is None and normalise is None:
        return image
    image = _reduced(image)
    grey = _is_grey(image)
    prepared = image.getchannel(0) if grey else image
    for step in (denoise, normalise):
        prepared = step(prepared) if step else prepared
    return prepared.convert("RGB") if grey else prepared


def median(image: Image.Image) -> Image.Image:
    """Replace each pixel by the median of the 3 by 3 around it, edges repeated.

    Columns are sorted once for all that share them (Smith, Implementing median filters in XC4000E FPGAs, 1996).
    """
    x = _padded(image)
    low, middle, high = _sorted3(x[:-2], x[1:-1], x[2:])
    lowest = np.maximum(np.maximum(low[:, :-2], low[:, 1:-1]), low[:, 2:])
    highest = np.minimum(np.minimum(high[:, :-2], high[:, 1:-1]), high[:, 2:])
    between = _sorted3(middle[:, :-2], middle[:, 1:-1], middle[:, 2:])[1]
    return Image.fromarray(_sorted3(lowest, between, highest)[1])


def gaussian(image: Image.Image) -> Image.Image:
    """Blur by the binomial of 5 by 5 pixels, a Gaussian of standard deviation 1; edges are repeated."""
    x = _padded(image, 2).astype(np.uint16)  # 255 times 16 times 16 and what is added fit into it
    x = x[:-4] + x[4:] + 4 * (x[1:-3] + x[3:-1]) + 6 * x[2:-2]
    x = x[:, :-4] + x[:, 4:] + 4 * (x[:, 1:-3] + x[:, 3:-1]) + 6 * x[:, 2:-2]
    return Image.fromarray(((x + 128) >> 8).astype(np.uint8))


def wiener(image: Image.Image) -> Image.Image:
    """Smooth where the 3 by 3 around a pixel vary no more than noise does, and leave edges.

    The noise is the mean local variance (Lim, Two-Dimensional Signal and Image Processing, 1990, page 548).
    """
    bands = [Image.fromarray(_adapted(_padded(band).astype(np.float32))) for band in image.split()]
    return Image.merge(image.mode, bands)


def percentile(image: Image.Image) -> Image.Image:
    """Stretch values linearly so that 98 % of what is not black fill the range; an image of one value stays."""
    counts = np.reshape(image.histogram(), (-1, VALUES)).sum(axis=0)
    counts[0] = 0
    reached = counts.cumsum() / max(counts.sum(), 1)
    low, high = (int(np.searchsorted(reached, share)) for share in (TAILS / 100, 1 - TAILS / 100))
    if high <= low:
        return image
    stretched = _bytes((np.arange(VALUES) - low) * (255 / (high - low)))
    return image.point(stretched.tolist() * len(image.getbands()))


def clahe(image: Image.Image) -> Image.Image:
    """Equalise the histogram of each tile within limits and blend between tiles; of colours the luminance alone.

    Zuiderveld, Contrast limited adaptive histogram equalization, Graphics Gems IV (1994); details as in OpenCV.
    """
    if image.mode == "L":
        return Image.fromarray(_equalised(np.asarray(image)))
    luminance, *colours = image.convert("YCbCr").split()
    equalised = Image.fromarray(_equalised(np.asarray(luminance)))
    return Image.merge("YCbCr", [equalised, *colours]).convert("RGB")


def stain(image: Image.Image) -> Image.Image:
    """Bring haematoxylin and eosin to reference colours; what has no two stains is left as it is.

    Macenko and others, A method for normalizing histology slides for quantitative analysis, ISBI 2009.
    """
    if image.mode == "L":
        return image
    densities = _densities()[np.asarray(image)].reshape(-1, 3)
    found = _stains(densities[:: max(1, len(densities) // MOST_SAMPLES)])
    if found is None:
        return image
    vectors, concentrations = found
    brought = STAINS @ np.diag(CONCENTRATIONS / concentrations) @ np.linalg.pinv(vectors)
    light = WHITE * np.exp(-np.maximum(_times(densities, brought.T.astype(np.float32)), -1))  # white is at -0.06
    return Image.fromarray(_bytes(light).reshape(image.height, image.width, 3))


DENOISE: dict[str, Filter] = {"median": median, "gaussian": gaussian, "wiener": wiener}
NORMALISE: dict[str, Filter] = {"percentile": percentile, "clahe": clahe, "stain": stain}


def _reduced(image: Image.Image) -> Image.Image:
    scale = LONGEST / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image if scale >= 1 else image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def _is_grey(image: Image.Image) -> bool:
    red, *others = (band.tobytes() for band in image.split())
    return all(band == red for band in others)


def _padded(image: Image.Image, width: int = 1) -> np.ndarray:
    """The pixels with each edge repeated."""
    x = np.asarray(image)
    return np.pad(x, [(width, width), (width, width), (0, 0)][: x.ndim], mode="edge")


def _sorted3(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    smaller, larger = np.minimum(a, b), np.maximum(a, b)
    return np.minimum(smaller, c), np.maximum(smaller, np.minimum(larger, c)), np.maximum(larger, c)


def _adapted(x: np.ndarray) -> np.ndarray:
    mean = _box(x) / 9
    variance = np.maximum(_box(x * x) / 9 - mean * mean, 0)
    noise = max(float(variance.mean()), 1e-6)
    keep = 1 - noise / np.maximum(variance, noise)
    return _bytes(mean + keep * (x[1:-1, 1:-1] - mean))


def _box(x: np.ndarray) -> np.ndarray:
    """Sums over the 3 by 3 around each pixel that has them."""
    rows = x[:-2] + x[1:-1] + x[2:]
    return rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _equalised(grey: np.ndarray) -> np.ndarray:
    height, width = grey.shape
    padded = np.pad(grey, [(0, -height % TILES), (0, -width % TILES)], mode="reflect")
    rows, columns = padded.shape[0] // TILES, padded.shape[1] // TILES  # of a tile
    tables = _tables(padded, rows, columns)
    (above, below, down), (left, right, across) = _between(height, rows), _between(width, columns)
    equalised = np.empty((height, width), np.uint8)
    for band in _runs(above, below):  # rows between the same two rows of tiles
        at_left, at_right = (grey[band].astype(np.intp) + VALUES * tile for tile in (left, right))
        first, last = tables[above[band.start]], tables[below[band.start]]
        upper, lower = (table[at_left] * (1 - across) + table[at_right] * across for table in (first, last))
        equalised[band] = _bytes(upper + (lower - upper) * down[band, None])
    return equalised


def _tables(padded: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """What each tile makes of each value: float32 (TILES, TILES * VALUES), a row of tiles after the other."""
    tiles = padded.reshape(TILES, rows, TILES, columns).transpose(0, 2, 1, 3).reshape(TILES**2, -1).astype(np.intp)
    area = rows * columns
    counts = np.bincount((tiles + VALUES * np.arange(TILES**2)[:, None]).ravel(), minlength=VALUES * TILES**2)
    counts = counts.reshape(TILES**2, VALUES)
    most = max(int(CLIP_LIMIT * area / VALUES), 1)
    excess = np.maximum(counts - most, 0).sum(axis=1)
    counts = np.minimum(counts, most) + (excess // VALUES)[:, None]
    for tile, left in enumerate(excess % VALUES):  # what cannot be dealt out evenly
        if left:
            counts[tile, :: max(VALUES // left, 1)][:left] += 1
    tables = _bytes(counts.cumsum(axis=1) * (255 / area))
    return tables.reshape(TILES, TILES * VALUES).astype(np.float32)


def _between(length: int, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each position the tiles whose centres lie before and after it, and how far it is on the way between them."""
    place = np.arange(length, dtype=np.float32) / np.float32(step) - np.float32(0.5)
    before = np.floor(place).astype(int)
    share = place - before
    return np.maximum(before, 0), np.minimum(before + 1, TILES - 1), share


def _runs(before: np.ndarray, after: np.ndarray) -> list[slice]:
    """Positions that lie between the same two tiles."""
    changes = np.flatnonzero(np.diff(before) | np.diff(after)) + 1
    return [slice(start, stop) for start, stop in pairwise([0, *changes.tolist(), len(before)])]


@cache
def _densities() -> np.ndarray:
    """The optical density of each value."""
    return -np.log((np.arange(VALUES, dtype=np.float32) + 1) / np.float32(WHITE))


def _stains(densities: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The two stains' densities (3, 2), haematoxylin first, with the 99th percentiles of their concentrations."""
    tissue = densities[(densities > TISSUE).all(axis=1)].astype(np.float64)
    if len(tissue) < max(LEAST_TISSUE * len(densities), 3):
        return None
    _, axes = np.linalg.eigh(np.cov(tissue.T))
    plane = axes[:, [2, 1]] * np.where(axes[:, [2, 1]].sum(axis=0) < 0, -1, 1)
    along = _times(tissue, plane)
    angles = np.percentile(np.arctan2(along[:, 1], along[:, 0]), [TAILS, 100 - TAILS])
    vectors = plane @ np.array([np.cos(angles), np.sin(angles)])
    vectors = vectors[:, np.argsort(-vectors[0])]  # haematoxylin takes more of the red
    concentrations = np.percentile(_times(tissue, np.linalg.pinv(vectors).T), 99, axis=0)
    if np.ptp(angles) < 1e-3 or concentrations.min() <= 0:  # one stain alone, or none
        return None
    return vectors, concentrations


def _times(rows: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The product of many short rows with a small matrix, without the threads of BLAS: they cost more than it."""
    return np.einsum("ni,ij->nj", rows, matrix)
