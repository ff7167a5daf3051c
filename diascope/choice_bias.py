"""How much of the best score does the choice itself add?

Of many settings that are as good as each other, one has the best score by luck. The correction is that of Tsamardinos,
Greasidou and Borboudakis (Bootstrapping the out-of-sample predictions for efficient and accurate cross-validation,
Machine Learning 2018): images are drawn again, a setting is chosen by what was drawn, and counts with its score on
what was not drawn. No setting is fitted again.
"""

from collections.abc import Callable, Sequence

import numpy as np

from diascope.bootstrap import Floats, Ints, Ranking, losses, resampled_weights, sampling_units
from diascope.calibration import fit_temperature, softmax
from diascope.comparison import HIGHER_IS_BETTER, SCORES

RESAMPLES = 100


def optimism_of(
    choose: Callable[[Floats], int],
    logits: Sequence[np.ndarray],
    labels: np.ndarray,
    groups: np.ndarray,
    metric: str,
    seed: int,
) -> float:
    """Return by how much the score of the setting that is chosen is too good, because it was chosen by it; at least 0.

    Parameters
    ----------
    choose: from scores (n,), of which higher is better, to the place of what is taken.
    logits: of each setting (m, n_classes), out of fold.
    labels, groups: of the same images (m,); groups are drawn as a whole.
    metric: `auroc`, `balanced_accuracy` or `log_loss`.
    """
    sign = 1 if HIGHER_IS_BETTER[metric] else -1
    calibrated = [softmax(each, fit_temperature(each, labels)) for each in logits]
    drawn, rest = (
        sign * np.stack([resampled_scores(each, labels, metric, some) for each in calibrated])
        for some in resampled(labels, groups, seed)
    )
    taken = choose(np.array([sign * SCORES[metric](labels, each) for each in calibrated]))
    known = np.isfinite(drawn).all(axis=0)
    return lost(rest[:, known], np.array([choose(scores) for scores in drawn[:, known].T], np.intp), taken)


def lost(rest: Floats, chosen: Ints, taken: int) -> float:
    """Return by how much what was chosen (b,) in each resample is worse on the rest than what is taken; at least 0.

    `rest` (n, b) are the scores of the settings on what was not drawn, higher ones are better. Those of what is taken
    are its score but for the noise of the drawing, which the difference leaves out. 0 where nobody can tell.
    """
    differences = rest[taken] - rest[chosen, np.arange(len(chosen))]
    known = differences[np.isfinite(differences)]
    return max(0.0, float(known.mean())) if len(known) else 0.0


def resampled(labels: np.ndarray, groups: np.ndarray, seed: int) -> tuple[Floats, Floats]:
    """Return how often each image is drawn (m, b), whole groups at a time, and 1 for those that are not."""
    drawn = np.concatenate(list(resampled_weights(sampling_units(labels, groups), RESAMPLES, seed)), axis=1)
    return drawn, (drawn == 0).astype(np.float64)


def resampled_scores(probabilities: Floats, labels: np.ndarray, metric: str, weights: Floats) -> Floats:
    """Return the metric (b,) of probabilities (m, n_classes) under each column of weights (m, b); NaN: not defined."""
    classes = np.unique(labels)
    with np.errstate(invalid="ignore", divide="ignore"):
        if metric == "log_loss":
            return losses(labels, probabilities)[:, 1] @ weights / weights.sum(axis=0)
        if metric == "balanced_accuracy":
            right = (probabilities.argmax(axis=1) == labels)[:, None] * weights
            return np.mean([right[labels == c].sum(axis=0) / weights[labels == c].sum(axis=0) for c in classes], axis=0)
        return np.mean([Ranking(labels == c, probabilities[:, c]).areas(weights)[0] for c in classes], axis=0)
