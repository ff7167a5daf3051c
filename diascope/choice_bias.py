"""How much of the best score does the choice itself add?

Of many settings that are as good as each other, one has the best score by luck. The correction is that of Tsamardinos,
Greasidou and Borboudakis (Bootstrapping the out-of-sample predictions for efficient and accurate cross-validation,
Machine Learning 2018): images are drawn again, the best setting is chosen by what was drawn, and counts with its score
on what was not drawn. No setting is fitted again.
"""

from collections.abc import Sequence

import numpy as np

from diascope.bootstrap import Floats, Ranking, losses, resampled_weights, sampling_units
from diascope.calibration import fit_temperature, softmax
from diascope.comparison import HIGHER_IS_BETTER

RESAMPLES = 100


def corrected_score(
    logits: Sequence[np.ndarray], labels: np.ndarray, groups: np.ndarray, metric: str, seed: int
) -> float:
    """Return the score of the best of several settings without what choosing it adds.

    Parameters
    ----------
    logits: of each setting (m, n_classes), out of fold.
    labels, groups: of the same images (m,); groups are drawn as a whole.
    metric: `auroc`, `balanced_accuracy` or `log_loss`.
    """
    sign = 1 if HIGHER_IS_BETTER[metric] else -1
    drawn, rest = resampled(labels, groups, seed)
    best, counted = np.full(RESAMPLES, -np.inf), np.full(RESAMPLES, np.nan)
    for each in logits:
        chosen_by, counts = (resampled_scores(each, labels, metric, some) for some in (drawn, rest))
        better = sign * chosen_by > best
        best, counted = np.where(better, sign * chosen_by, best), np.where(better, counts, counted)
    return float(np.nanmean(counted)) if np.isfinite(counted).any() else float("nan")


def resampled(labels: np.ndarray, groups: np.ndarray, seed: int) -> tuple[Floats, Floats]:
    """Return how often each image is drawn (m, b), whole groups at a time, and 1 for those that are not."""
    drawn = np.concatenate(list(resampled_weights(sampling_units(labels, groups), RESAMPLES, seed)), axis=1)
    return drawn, (drawn == 0).astype(np.float64)


def resampled_scores(logits: np.ndarray, labels: np.ndarray, metric: str, weights: Floats) -> Floats:
    """Return the metric (b,) under each column of weights (m, b); NaN where it is not defined."""
    probabilities = softmax(logits, fit_temperature(logits, labels) if metric == "log_loss" else 1)
    classes = np.unique(labels)
    with np.errstate(invalid="ignore", divide="ignore"):
        if metric == "log_loss":
            return losses(labels, probabilities)[:, 1] @ weights / weights.sum(axis=0)
        if metric == "balanced_accuracy":
            right = (probabilities.argmax(axis=1) == labels)[:, None] * weights
            return np.mean([right[labels == c].sum(axis=0) / weights[labels == c].sum(axis=0) for c in classes], axis=0)
        return np.mean([Ranking(labels == c, probabilities[:, c]).areas(weights)[0] for c in classes], axis=0)
