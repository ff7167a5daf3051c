"""What do the images look like, and how far do things that are no anatomy tell the classes apart?

Nothing here reads an image of the test split, and no image is held longer than it takes to look at it: of large
datasets a part is looked at, chosen by hashes and spread evenly over the classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from diascope.engine import ahead
from diascope.errors import InputError
from diascope.images import INGESTED, decode
from diascope.progress import Progress

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image

    from diascope.dataset import Dataset
    from diascope.features import Features

MAX_IMAGES = 2_000  # that are decoded
MAX_VECTORS = 5_000  # of features, evenly chosen; each is compared with all others
SIDE = 96  # pixels of mean images
OUTLINE = 24  # pixels of what stands for an image where there are no features
READ = 256  # images whose bytes are in memory at a time
GREYS = 256
DARK = 8  # grey values below are called black
FOLDS = 5


@dataclass(frozen=True)
class Look:
    """What is kept of one image."""

    histogram: np.ndarray  # (256,) share of the pixels with each grey value
    small: np.ndarray  # (SIDE, SIDE) uint8


@dataclass(frozen=True)
class Exploration:
    """What images look like, by class in the order of the dataset's."""

    looked: "pd.DataFrame"  # rows of the index that were looked at, and `mean`, `deviation`, `black`
    n_development: int  # images of train and validation, of which `looked` are a part
    histograms: np.ndarray  # (classes, 256) mean share of pixels with each grey value; 0 without images
    means: np.ndarray  # (classes, SIDE, SIDE) uint8
    deviations: np.ndarray  # (classes, SIDE, SIDE) float, in grey values
    shortcut: float | None  # macro AUROC of size, file mode and brightness alone; None where it cannot be measured
    vectors: np.ndarray  # (m, d) what decides which images are alike, of some of the images
    ids: list[str]  # whose they are
    from_features: bool  # else from the pixels


def explore(
    dataset: "Dataset",
    groups: dict[str, str],
    features: "Features | None",
    seed: int,
    progress: Progress | None = None,
) -> Exploration:
    """Look at images of train and validation, at most `MAX_IMAGES` of them, and at their features if there are any.

    `groups`, sample id -> group, says which images must stay together where something is measured.
    """
    index = dataset.index()
    development = index[index["split"] != "test"]
    chosen = choose(development, MAX_IMAGES)
    names = dataset.info.class_names
    kept, sums, squares, histograms, outlines = [], *_nothing(len(names)), []
    for done, (name, look) in enumerate(_looks(dataset, chosen["sample_id"].tolist()), start=1):
        label = names.index(chosen.loc[name, "label"])
        small = look.small.astype(np.float64)
        sums[label] += small
        squares[label] += small**2
        histograms[label] += look.histogram
        outlines.append(_outline(look.small))
        kept.append(_facts(look.histogram))
        if progress:
            progress("images", done, len(chosen))
    n_features = len(features.sample_ids) if features else 0
    rows = np.unique(np.linspace(0, n_features - 1, min(MAX_VECTORS, n_features)).astype(int))
    looked = chosen.assign(**{key: [facts[key] for facts in kept] for key in ("mean", "deviation", "black")})
    counts = np.array([(looked["label"] == name).sum() for name in names]).reshape(-1, 1, 1).clip(1)
    means = sums / counts
    return Exploration(
        looked=looked,
        n_development=len(development),
        histograms=histograms / counts[:, :, 0],
        means=np.rint(means).astype(np.uint8),
        deviations=np.sqrt(np.clip(squares / counts - means**2, 0, None)),
        shortcut=_shortcut(looked, looked["sample_id"].map(groups).to_numpy(str), seed),
        vectors=features.appearance(rows) if features else np.array(outlines, np.float32),
        ids=[features.sample_ids[row] for row in rows] if features else looked["sample_id"].tolist(),
        from_features=features is not None,
    )


def choose(index: "pd.DataFrame", limit: int) -> "pd.DataFrame":
    """At most so many rows, as many of every class as can be, by the hashes of their pixels; in storage order."""
    if len(index) > limit:
        ordered = index.sort_values(["sha256", "sample_id"])
        turn = ordered.groupby("label").cumcount()
        index = index.loc[ordered.assign(turn=turn).sort_values("turn", kind="stable").index[:limit]].sort_index()
    return index.set_index("sample_id", drop=False)


def _nothing(n_classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    squares = (n_classes, SIDE, SIDE)
    return np.zeros(squares), np.zeros(squares), np.zeros((n_classes, GREYS))


def _looks(dataset: "Dataset", ids: list[str]) -> Iterator[tuple[str, Look]]:
    """Decode images in threads; in order."""

    def encoded() -> Iterator[tuple[str, bytes]]:
        for start in range(0, len(ids), READ):
            yield from dataset.read(ids[start : start + READ]).items()

    def look(sample: tuple[str, bytes]) -> tuple[str, Look]:
        name, data = sample
        return name, look_at(decode(data, name=name, max_pixels=INGESTED))

    return ahead(look, encoded())


def look_at(image: "Image") -> Look:
    """Grey values of a decoded image, and the image made small."""
    grey = image.convert("L")
    histogram = np.array(grey.histogram(), dtype=np.float64)
    return Look(histogram / histogram.sum(), np.asarray(grey.resize((SIDE, SIDE), reducing_gap=2.0)))


def _facts(histogram: np.ndarray) -> dict[str, float]:
    values = np.arange(GREYS)
    mean = float(histogram @ values)
    deviation = float(np.sqrt(histogram @ (values - mean) ** 2))
    return {"mean": mean, "deviation": deviation, "black": float(histogram[:DARK].sum())}


def _outline(small: np.ndarray) -> np.ndarray:
    """A small image as a vector, whatever its brightness and contrast."""
    step = SIDE // OUTLINE
    blocks = small.reshape(OUTLINE, step, OUTLINE, step).mean(axis=(1, 3)).ravel()
    centred = blocks - blocks.mean()
    return centred / max(float(np.linalg.norm(centred)), 1e-6)


def _shortcut(looked: "pd.DataFrame", groups: np.ndarray, seed: int) -> float | None:
    """Macro AUROC of a logistic regression that sees no anatomy, over folds that keep groups whole.

    It sees width, height, their ratio, the file's mode, the mean grey value, its deviation, and the share of black.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from diascope.metrics import macro_auroc
    from diascope.splits import folds

    labels = looked["label"].to_numpy(str)
    names, numbers = np.unique(labels, return_inverse=True)
    if len(names) < 2:
        return None
    try:
        parts = folds(labels, groups, FOLDS, seed)
    except InputError:  # too few images or groups of a class to tell
        return None
    sizes = np.log(looked[["width", "height"]].to_numpy(float))
    modes = [(looked["mode"] == mode).to_numpy(float) for mode in sorted(set(looked["mode"]))]
    brightness = looked[["mean", "deviation", "black"]].to_numpy(float)
    facts = np.column_stack([sizes, sizes[:, 0] - sizes[:, 1], *modes, brightness])
    probabilities = np.zeros((len(labels), len(names)))
    for fitted, held_out in parts:
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(facts[fitted], numbers[fitted])
        probabilities[held_out] = model.predict_proba(facts[held_out])
    return macro_auroc(numbers, probabilities)
