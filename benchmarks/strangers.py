"""Which images belong to no medical data set?"""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

Pictures = list[np.ndarray]  # uint8 (height, width, 3)
HEIGHT, WIDTH = 240, 320
GREYS = range(0, 256, 15)  # from black to white
DRAWS = 10  # images of each kind of noise
CROPS = 19  # of each photograph
SMALLEST = 0.2  # of a side that a crop keeps
SPECKS = 0.1  # of the pixels that salt and pepper change
PHOTOGRAPHS = {  # that come with packages which training needs
    "sklearn": ("datasets/images/china.jpg", "datasets/images/flower.jpg"),
    "matplotlib": ("mpl-data/sample_data/grace_hopper.jpg",),
}


def blank(rng: np.random.Generator) -> Pictures:
    """One grey value each, from black to white."""
    return [_grey(np.full((HEIGHT, WIDTH), value)) for value in GREYS]


def almost_black(rng: np.random.Generator) -> Pictures:
    """Values of 0 and 1 alone, as where pixels were scaled to 0..1 before they were saved."""
    return [_grey(rng.random((HEIGHT, WIDTH)) < share) for share in np.linspace(0.05, 0.95, DRAWS)]


def almost_blank(rng: np.random.Generator) -> Pictures:
    """One grey value and little noise."""
    return [_grey(value + rng.normal(0, spread, (HEIGHT, WIDTH))) for spread in (1, 3) for value in GREYS[1::3]]


def uniform_noise(rng: np.random.Generator) -> Pictures:
    """Every value as often, in grey and in colours."""
    return [_grey(rng.integers(0, 256, (HEIGHT, WIDTH, depth))) for depth in (1, 3) for _ in range(DRAWS)]


def normal_noise(rng: np.random.Generator) -> Pictures:
    """Around a mean, more or less, in grey and in colours."""
    spreads = np.linspace(10, 80, DRAWS)
    return [_grey(rng.normal(120, spread, (HEIGHT, WIDTH, depth))) for depth in (1, 3) for spread in spreads]


def salt_and_pepper(rng: np.random.Generator) -> Pictures:
    """Black and white specks on one grey value."""
    drawn = [rng.random((HEIGHT, WIDTH)) for _ in range(DRAWS)]
    values = np.linspace(20, 235, DRAWS)
    return [
        _grey(np.where(one < SPECKS / 2, 0, np.where(one > 1 - SPECKS / 2, 255, value)))
        for one, value in zip(drawn, values, strict=True)
    ]


def drawings(rng: np.random.Generator) -> Pictures:
    """Ramps, discs, stripes and chessboards."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    ramps = [255 * rows / HEIGHT, 255 * columns / WIDTH]
    away = np.hypot(rows - HEIGHT / 2, columns - WIDTH / 2)
    discs = [np.where(away < radius, 200, 0) for radius in (40, 100)]
    stripes = [255 * (along // width % 2) for along in (rows, columns) for width in (4, 20)]
    boards = [255 * ((rows // width + columns // width) % 2) for width in (8, 40)]
    return [_grey(drawn) for drawn in (*ramps, *discs, *stripes, *boards)]


def photographs(rng: np.random.Generator) -> Pictures:
    """Photographs that come with installed packages, and crops of them."""
    found = []
    for package, names in PHOTOGRAPHS.items():
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        for name in names:
            whole = np.asarray(Image.open(Path(spec.origin).parent / name).convert("RGB"))
            found += [whole, *(_crop(whole, rng) for _ in range(CROPS))]
    return found


def grey_photographs(rng: np.random.Generator) -> Pictures:
    """The same without colours."""
    return [_grey(np.asarray(Image.fromarray(each).convert("L"))) for each in photographs(rng)]


def _crop(whole: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    height, width = (round(side * rng.uniform(SMALLEST, 1)) for side in whole.shape[:2])
    top, left = (rng.integers(0, all_ - kept + 1) for all_, kept in zip(whole.shape, (height, width), strict=False))
    return whole[top : top + height, left : left + width]


def _grey(values: np.ndarray) -> np.ndarray:
    """Values (height, width[, 1 or 3]) of 0 to 255 as an image."""
    whole = np.clip(np.round(np.asarray(values, np.float64)), 0, 255).astype(np.uint8)
    return np.broadcast_to(whole if whole.ndim == 3 else whole[..., None], (*whole.shape[:2], 3)).copy()


STRANGERS: dict[str, Callable[[np.random.Generator], Pictures]] = {
    f"blank, {len(GREYS)} grey values": blank,
    "almost black: values of 0 and 1 alone": almost_black,
    "blank with little noise (standard deviation 1 and 3)": almost_blank,
    "uniform noise, grey and coloured": uniform_noise,
    "normal noise, grey and coloured": normal_noise,
    "salt and pepper": salt_and_pepper,
    "ramps, discs, stripes, chessboards": drawings,
    "photographs and crops of them": photographs,
    "the same in grey": grey_photographs,
}
