"""Which images does a fit use, how often, and how much does each of them count?"""

from dataclasses import dataclass

import numpy as np

from diascope.config import CandidateConfig
from diascope.development import Development

# What the least agreed image counts: one that counts nothing would be none where a batch is parted among devices.
LEAST_WEIGHT = 0.01


@dataclass(frozen=True)
class Weighting:
    """What a fit makes of the images that it may use."""

    rows: np.ndarray  # (m,) sorted; an image that is drawn again stands there again
    weights: np.ndarray  # (n,) of all development images; over `rows` their mean is 1

    def once(self) -> tuple[np.ndarray, np.ndarray]:
        """Return each row once, and its weight times how often it was drawn: the same to a loss that is a sum."""
        rows, times = np.unique(self.rows, return_counts=True)
        return rows, self.weights[rows] * times


def weigh(rows: np.ndarray, development: Development, config: CandidateConfig, seed: int) -> Weighting:
    """Return how a candidate's settings weigh the rows of a fit.

    Rows are resampled first. Then each counts by `sample_weights`, and `class_weights` give every class the same total
    of that. Images that are held out, or only say when to stop, are not resampled.
    """
    drawn = resampled(rows, development.labels, config.resampling, seed)
    return Weighting(drawn, weights_of(drawn, development, config))


def resampled(rows: np.ndarray, labels: np.ndarray, method: str, seed: int) -> np.ndarray:
    """Return rows with as many of every class, sorted: as of the smallest, or as of the largest class.

    `labels` are those of all images. The larger classes lose images at random; the smaller ones stand there as often
    as it takes, and what then is missing is drawn at random.
    """
    if method == "none":
        return rows
    rng = np.random.default_rng(seed)
    classes, counts = np.unique(labels[rows], return_counts=True)
    n = int(counts.min() if method == "undersample" else counts.max())
    parts = []
    for each in classes:
        own = rows[labels[rows] == each]
        parts += [own] * (n // len(own)) + [rng.choice(own, n % len(own), replace=False)]
    return np.sort(np.concatenate(parts))


def weights_of(rows: np.ndarray, development: Development, config: CandidateConfig) -> np.ndarray:
    """Return the weight of every development image (n,), whose mean over the rows is 1."""
    labels, n_classes = development.labels, len(development.class_names)
    weights = np.ones(len(labels))
    if config.sample_weights == "agreement":
        weights = np.maximum(development.agreement, LEAST_WEIGHT)
    if config.class_weights == "balanced":
        totals = np.bincount(labels[rows], weights[rows], minlength=n_classes)
        weights = weights / np.where(totals > 0, totals, 1)[labels]
    return weights / weights[rows].mean()
