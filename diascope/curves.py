"""What do the ROC and the precision-recall curve look like?"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
MAX_POINTS = 200


def roc_curve(labels: ArrayLike, scores: ArrayLike, *, max_points: int = MAX_POINTS) -> tuple[Floats, Floats, Floats]:
    """False positive rate, true positive rate and threshold, from the strictest threshold to the laxest.

    `labels` (n,) are true for the positive class, `scores` (n,) higher for more likely. An image is called positive
    when its score reaches the threshold; the first threshold is infinite. At most `max_points` points are kept, the
    ends among them. A rate without images to count is NaN.
    """
    hits, misses, thresholds = _counts(labels, scores)
    false_rate, true_rate = _share(misses, misses[-1]), _share(hits, hits[-1])
    keep = _thinned(np.nan_to_num(false_rate) + np.nan_to_num(true_rate), max_points)
    return false_rate[keep], true_rate[keep], thresholds[keep]


def pr_curve(labels: ArrayLike, scores: ArrayLike, *, max_points: int = MAX_POINTS) -> tuple[Floats, Floats, Floats]:
    """Recall, precision and threshold, from the strictest threshold to the laxest.

    Arguments as in `roc_curve`. The curve starts at recall 0 with the precision of the strictest threshold that calls
    any image positive; draw it as steps (`where="pre"`), because between two points only the recall of the later one
    is reached. At most `max_points` points are kept, the ends among them.
    """
    hits, misses, thresholds = _counts(labels, scores)
    recall, precision = _share(hits, hits[-1]), _share(hits, hits + misses)
    if len(precision) > 1:
        precision[0] = precision[1]
    steps = np.abs(np.diff(np.nan_to_num(recall), prepend=0)) + np.abs(np.diff(np.nan_to_num(precision), prepend=0))
    keep = _thinned(np.cumsum(steps), max_points)
    return recall[keep], precision[keep], thresholds[keep]


def _counts(labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """True and false positives at each distinct threshold, highest first, after a first point with none."""
    positive, values = np.asarray(labels, dtype=bool), np.asarray(scores, dtype=np.float64)
    order = np.argsort(-values, kind="stable")
    positive, values = positive[order], values[order]
    last = np.append(np.flatnonzero(np.diff(values)), len(values) - 1) if len(values) else np.array([], dtype=int)
    hits = np.concatenate([[0.0], np.cumsum(positive)[last]])
    misses = np.concatenate([[0.0], np.cumsum(~positive)[last]])
    return hits, misses, np.concatenate([[np.inf], values[last]])


def _share(part: Floats, whole: Floats | np.float64) -> Floats:
    with np.errstate(invalid="ignore"):
        share: Floats = part / whole
    return share


def _thinned(along: Floats, max_points: int) -> NDArray[np.intp]:
    """Indices of at most `max_points` points, evenly spaced along the drawn line, the ends among them."""
    if len(along) <= max_points:
        return np.arange(len(along))
    wanted = np.linspace(along[0], along[-1], max_points)
    nearest = np.clip(np.searchsorted(along, wanted), 0, len(along) - 1)
    nearest[0], nearest[-1] = 0, len(along) - 1
    return np.unique(nearest)
