"""What would the figures be in another sample? Every figure as a function of weights, and weights of resamples."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

CALIBRATION_BINS = 10
BLOCK = 2**18  # weights held at a time; a few arrays of that many float64 stay within the processor's cache


@dataclass(frozen=True)
class Units:
    """What is drawn as a whole (images, or groups of them), and from which strata."""

    of_image: Ints  # (n,) unit of each image
    strata: list[Ints]  # units of each stratum

    @property
    def n(self) -> int:
        return sum(len(members) for members in self.strata)


def sampling_units(labels: Ints, groups: ArrayLike | None) -> Units:
    """Images stratified by class, or groups stratified by the class of most of their images (a draw: the first)."""
    if groups is None:
        of_image, majority = np.arange(len(labels)), labels
    else:
        of_image = np.unique(np.asarray(groups), return_inverse=True)[1].reshape(-1)
        counts = np.zeros((of_image.max() + 1, labels.max() + 1), dtype=np.intp)
        np.add.at(counts, (of_image, labels), 1)
        majority = counts.argmax(axis=1)
    return Units(of_image, [np.flatnonzero(majority == stratum) for stratum in np.unique(majority)])


def resampled_weights(units: Units, resamples: int, seed: int) -> Iterator[Floats]:
    """Weights of the images in one resample after another, in blocks (n, b) of bounded size.

    From a stratum of m units m - 1 are drawn with replacement and weigh m / (m - 1), so that the variance over
    resamples is not too small in small strata: Rao and Wu, Resampling Inference With Complex Survey Data, JASA 1988.
    """
    rng = np.random.default_rng(seed)
    n = len(units.of_image)
    block = int(np.clip(BLOCK // n, 16, resamples))
    for start in range(0, resamples, block):
        b = min(block, resamples - start)
        weights = np.empty((units.n, b))
        for members in units.strata:
            m = len(members)
            draws = max(m - 1, 1)
            cells = rng.integers(0, m, size=(draws, b)) * b + np.arange(b)
            weights[members] = np.bincount(cells.ravel(), minlength=m * b).reshape(m, b) * (m / draws)
        yield weights if units.n == n and (units.of_image == np.arange(n)).all() else weights[units.of_image]


class Ranking:
    """Images in order of one class's score, the highest first, ready to be weighted many times."""

    def __init__(self, positive: NDArray[np.bool_], scores: Floats) -> None:
        """`positive` (n,) are the images of the class, `scores` (n,) higher for more likely."""
        self._order = np.argsort(-scores, kind="stable")
        ranked = scores[self._order]
        self._level_starts = np.append(0, np.flatnonzero(np.diff(ranked)) + 1)
        self._distinct = len(self._level_starts) == len(scores)
        level = np.repeat(np.arange(len(self._level_starts)), np.diff(np.append(self._level_starts, len(scores))))
        hit_ranks = np.flatnonzero(positive[self._order])
        self._hits = self._order[hit_ranks]
        self._hit_levels, self._hit_starts = np.unique(level[hit_ranks], return_index=True)

    def areas(self, weights: Floats) -> tuple[Floats, Floats]:
        """AUROC and average precision (b,) under each column of weights (n, b); NaN where a side weighs nothing.

        Images of equal score count as one threshold, and between themselves as half right, as in scikit-learn.
        """
        if len(self._hits) == 0 or len(self._hits) == len(self._order):
            nothing = np.full(weights.shape[1], np.nan)
            return nothing, nothing
        at_level, hits = weights[self._order], weights[self._hits]
        if not self._distinct:
            at_level = np.add.reduceat(at_level, self._level_starts, axis=0)
            hits = np.add.reduceat(hits, self._hit_starts, axis=0)
        called = np.cumsum(at_level, axis=0)
        found = np.cumsum(hits, axis=0)
        positives, negatives = found[-1], called[-1] - found[-1]
        called_here = called[self._hit_levels]
        below = negatives - (called_here - found) + (at_level[self._hit_levels] - hits) / 2
        pairs = np.where((positives > 0) & (negatives > 0), positives * negatives, np.nan)
        precision = np.divide(found, called_here, out=np.zeros_like(found), where=called_here > 0)
        auroc = np.einsum("ij,ij->j", hits, below) / pairs
        auprc = np.einsum("ij,ij->j", hits, precision) * negatives / pairs
        return np.clip(auroc, 0, 1), np.clip(auprc, 0, 1)


class Figures:
    """Every figure of one set of predictions, as a function of the images' weights."""

    def __init__(
        self, labels: Ints, probabilities: Floats, predicted: Ints, uncalibrated: Floats | None = None
    ) -> None:
        """`labels` and `predicted` (n,) are indices of the k classes of `probabilities` (n, k)."""
        self.k = probabilities.shape[1]
        self._present = np.unique(labels)
        one_hot = np.eye(self.k)
        truth, called = one_hot[labels], one_hot[predicted]
        self._rankings = [Ranking(labels == c, probabilities[:, c]) for c in range(self.k)]
        columns = [
            truth,
            called,
            truth * called,
            losses(labels, probabilities),
            calibration_gaps(labels, probabilities),
        ]
        if uncalibrated is not None:
            columns.append(calibration_gaps(labels, uncalibrated))
        self._columns = np.concatenate(columns, axis=1)

    def __call__(self, weights: Floats) -> dict[str, Floats]:
        """Figures under each column of weights (n, b): (b,) for the whole, (k, b) under `class_...` for each class.

        NaN is a figure without anything to divide by; a class without images has none. Macro figures are means over
        the classes that have images in the sample; a precision without a prediction enters there as 0. `bin_gaps`
        (bins, b) are what the calibration error is the absolute sum of.
        """
        sums = (weights.T @ self._columns).T
        truth, called, right = sums[: self.k], sums[self.k : 2 * self.k], sums[2 * self.k : 3 * self.k]
        total = truth.sum(axis=0)
        rest = sums[3 * self.k :]
        found = _per_class(truth, called, right, total)
        areas = [ranking.areas(weights) for ranking in self._rankings]
        found["class_auroc"] = np.stack([auroc for auroc, _ in areas])
        found["class_auprc"] = np.stack([auprc for _, auprc in areas])
        for name in ("auroc", "auprc", "sensitivity", "specificity", "f1"):
            found[name] = found[f"class_{name}"][self._present].mean(axis=0)
        never_called = (called == 0) & (truth > 0)
        found["precision"] = np.where(never_called, 0.0, found["class_precision"])[self._present].mean(axis=0)
        found["balanced_accuracy"] = found["sensitivity"]
        found["accuracy"] = right.sum(axis=0) / total
        found["brier"], found["log_loss"] = rest[:2] / total
        found["bin_gaps"] = rest[2 : 2 + CALIBRATION_BINS] / total
        found["ece"] = np.abs(found["bin_gaps"]).sum(axis=0)
        if len(rest) > 2 + CALIBRATION_BINS:
            found["bin_gaps_uncalibrated"] = rest[2 + CALIBRATION_BINS :] / total
            found["ece_uncalibrated"] = np.abs(found["bin_gaps_uncalibrated"]).sum(axis=0)
        return found


def _per_class(truth: Floats, called: Floats, right: Floats, total: Floats) -> dict[str, Floats]:
    """Sensitivity and so on of each class (k, b) from weights of its images, of its predictions and of both."""
    with np.errstate(invalid="ignore", divide="ignore"):
        negative = np.where(truth > 0, total - truth, np.nan)
        return {
            "class_sensitivity": right / truth,
            "class_specificity": 1 - (called - right) / np.where(negative > 0, negative, np.nan),
            "class_precision": np.where(truth > 0, right / called, np.nan),
            "class_f1": 2 * right / np.where(truth > 0, truth + called, np.nan),
        }


def losses(labels: Ints, probabilities: Floats) -> Floats:
    """Brier score summed over classes, and log loss, of each image: (n, 2)."""
    truth = np.eye(probabilities.shape[1])[labels]
    of_truth = probabilities[np.arange(len(labels)), labels]
    least = np.finfo(np.float64).eps
    return np.column_stack([((probabilities - truth) ** 2).sum(axis=1), -np.log(np.clip(of_truth, least, 1))])


def calibration_bins(probabilities: Floats) -> Ints:
    """Equal-width bin (n,) of the most probable class's probability; a bin holds its upper end."""
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    return np.digitize(probabilities.max(axis=1), edges[1:-1], right=True)


def calibration_gaps(labels: Ints, probabilities: Floats) -> Floats:
    """Confidence minus correctness of each image in the column of its bin, 0 elsewhere: (n, bins)."""
    gap = probabilities.max(axis=1) - (probabilities.argmax(axis=1) == labels)
    gaps: Floats = np.eye(CALIBRATION_BINS)[calibration_bins(probabilities)] * gap[:, None]
    return gaps
