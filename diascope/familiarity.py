"""Is an image like those the classifier was trained on?"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from diascope.answers import Familiarity
from diascope.block_lengths import SHORTEST, of_length_1
from diascope.errors import InputError
from diascope.splits import folds

if TYPE_CHECKING:
    import keras

PERCENTILE = 99.0  # of the distances of held-out training images is the threshold
DIRECTIONS = 64  # along which the training images vary most; 16 to 128 do about equally well
NOISE = 0.003  # variance along any other direction, of a total of 1; 0.001 to 0.01 do about equally well
MOST_IMAGES = 2_000  # that the statistics are made of: enough for a percentile, and memory stays bounded
FOLDS = 10  # with fewer, more of a rare kind of image is held out at once, and the threshold depends more on luck
CONSTANT = 1e-6  # a block of length 1 that deviates by less than this does not vary
METHOD = (
    "Mahalanobis distance of signed square roots of averaged features, each layer scaled to length 1, to one Gaussian "
    "of principal components and noise (Lee et al. 2018; Perronnin et al. 2010; Sehwag et al. 2021)"
)
Bounds = list[tuple[int, int]]


@dataclass(frozen=True)
class Reference:
    """One Gaussian around the features of training images.

    Mahalanobis distance (Lee et al., A Simple Unified Framework for Detecting Out-of-Distribution Samples, NeurIPS
    2018) of features of length 1 (Sehwag, Chiang and Mittal, SSD, ICLR 2021), signed square roots of which were taken
    before so that a few large ones do not hide the others (Perronnin, Sanchez and Mensink, Improving the Fisher Kernel,
    ECCV 2010). Without classes, which are of no use for this (Kamoi and Kobayashi, Why is the Mahalanobis Distance
    Effective for Anomaly Detection?, 2020), and in the model of probabilistic principal components (Tipping and Bishop,
    JRSS B 1999). With little noise it is mostly the length of what the components leave, as in ViM (Wang et al., CVPR
    2022).
    """

    bounds: Bounds  # where the blocks of features that count start and stop
    mean: np.ndarray  # (d,) over these blocks alone
    scale: np.ndarray  # (d,), one value per block: all blocks together have a variance of 1
    directions: np.ndarray  # (d, r), each shortened by the share of its variance that is noise

    @classmethod
    def of(cls, features: np.ndarray, bounds: Bounds) -> "Reference":
        """Fit features (n, any), of which the blocks within these bounds count."""
        units = _units(features, bounds)
        mean = units.mean(axis=0, dtype=np.float64).astype(np.float32)
        units -= mean
        scale = _block_scale(units, bounds)
        units *= scale
        variances, axes = _principal(units, min(DIRECTIONS, len(units) // 2))
        return cls(bounds, mean, scale, axes * np.sqrt(variances / (variances + NOISE)).astype(np.float32))

    def distance(self, features: np.ndarray) -> np.ndarray:
        """Return the distance (n,) of features (n, any): Mahalanobis, in standard deviations of the noise."""
        z = (_units(features, self.bounds) - self.mean) * self.scale
        rest = (z**2).sum(axis=1) - ((z @ self.directions) ** 2).sum(axis=1)
        return np.sqrt(np.maximum(rest, 0) / NOISE)

    def attach(self, features: "keras.KerasTensor", threshold: float) -> "keras.KerasTensor":
        """Continue a Keras graph from features to the distance (n,) divided by the threshold."""
        from keras import layers, ops

        parts = [features[:, start:stop] for start, stop in self.bounds]
        counted = layers.Concatenate()(parts) if len(parts) > 1 else parts[0]
        roots = ops.sign(counted) * ops.sqrt(ops.abs(counted))
        # As in heads: mean and scale are stored as weights of a layer that never learns, not in the model's JSON.
        centre = layers.BatchNormalization(epsilon=0, trainable=False, name="familiarity_centre")
        project = layers.Dense(self.directions.shape[1], use_bias=False, name="familiarity_directions")
        z = centre(of_length_1(roots, [stop - start for start, stop in self.bounds]))
        explained = project(z)
        relative = self.scale / np.float32(threshold * np.sqrt(NOISE))
        centre.set_weights([relative, np.zeros_like(self.mean), self.mean, np.ones_like(self.mean)])
        project.set_weights([self.directions])
        rest = ops.sum(ops.square(z), axis=-1) - ops.sum(ops.square(explained), axis=-1)
        return ops.sqrt(ops.maximum(rest, 0.0))


def familiarise(
    features: np.ndarray, labels: np.ndarray, groups: np.ndarray, bounds: Bounds, seed: int
) -> tuple[Reference, Familiarity]:
    """Return the reference of training images, with the threshold that their held-out distances give.

    Features (n, any) of a network that has not learned from these images; folds keep groups (n,) whole and mix classes,
    labels (n,), evenly. Of many images a random `MOST_IMAGES` are taken.
    """
    rows = some_rows(len(features), seed)
    chosen = np.asarray(features[rows], np.float32)
    pairs = _folds(np.asarray(labels)[rows], np.asarray(groups)[rows], seed)
    held_out = [distances(chosen[fit], chosen[out], bounds) for fit, out in pairs]
    return Reference.of(chosen, bounds), familiarity(np.concatenate(held_out))


def distances(fitted: np.ndarray, held_out: np.ndarray, bounds: Bounds) -> np.ndarray:
    """Return the distance (m,) of held-out features (m, any) to fitted ones (n, any)."""
    return Reference.of(fitted, bounds).distance(held_out)


def familiarity(held_out: np.ndarray) -> Familiarity:
    """Return the description, with the percentile of held-out distances (n,), interpolated, as threshold.

    Of 100 images and fewer it is below the largest distance alone, so that one of 12 held-out images is beyond it.
    """
    threshold = max(float(np.percentile(held_out, PERCENTILE)), CONSTANT)
    return Familiarity(method=METHOD, threshold=threshold, percentile=PERCENTILE, n=len(held_out))


def some_rows(n: int, seed: int) -> np.ndarray:
    """Return the numbers of at most `MOST_IMAGES` of n rows, in order."""
    if n <= MOST_IMAGES:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, MOST_IMAGES, replace=False))


def _folds(labels: np.ndarray, groups: np.ndarray, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Deal groups to folds; without regard to classes, or to groups, where that cannot be."""
    alike = np.zeros(len(labels))
    for strata, units in ((labels, groups), (alike, groups)):
        try:
            return folds(strata, units, FOLDS, seed)
        except InputError:
            continue
    return folds(alike, None, FOLDS, seed)


def _units(features: np.ndarray, bounds: Bounds) -> np.ndarray:
    """Return signed square roots of the blocks that count, each block scaled to length 1 for every image: (n, d)."""
    parts = [np.asarray(features[:, start:stop], np.float32) for start, stop in bounds]
    blocks = [np.sign(part) * np.sqrt(np.abs(part)) for part in parts]
    lengths = [np.linalg.norm(block, axis=1, keepdims=True) for block in blocks]
    return np.concatenate([b / np.maximum(length, SHORTEST) for b, length in zip(blocks, lengths, strict=True)], axis=1)


def _block_scale(centred: np.ndarray, bounds: Bounds) -> np.ndarray:
    """Return 1 / the standard deviation of each whole block, in every place of the block; 0 where nothing varies."""
    widths = [stop - start for start, stop in bounds]
    ends = np.cumsum(widths)
    variances = [
        float((centred[:, end - w : end] ** 2).sum(axis=1).mean()) for w, end in zip(widths, ends, strict=True)
    ]
    scales = [1 / np.sqrt(v * len(bounds)) if v > CONSTANT**2 else 0 for v in variances]
    return np.repeat(scales, widths).astype(np.float32)


def _principal(z: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest variances (r,) of centred z (n, d) and their directions (d, r)."""
    if z.shape[1] <= len(z):
        squares, axes = np.linalg.eigh((z.T @ z).astype(np.float64))
        kept = np.argsort(squares)[::-1][:most]
        return (np.maximum(squares[kept], 0) / len(z)).astype(np.float32), axes[:, kept].astype(np.float32)
    squares, left = np.linalg.eigh((z @ z.T).astype(np.float64))
    kept = np.argsort(squares)[::-1][:most]
    kept = kept[squares[kept] > CONSTANT * squares.max()]
    axes = z.T @ (left[:, kept] / np.sqrt(squares[kept])).astype(np.float32)
    return (squares[kept] / len(z)).astype(np.float32), axes
