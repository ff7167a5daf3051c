"""Which of many feature sets is taken, and how much of its score is luck?

The best of many scores is one that was lucky, and the cheapest that is as good as the best was lucky twice. So a set is
judged by what its image sizes, its depth and its poolings score on average, with whatever they go together: an additive
model of the scores, in which the luck of single sets cancels.
"""

from collections.abc import Sequence

import numpy as np

from diascope.choice_bias import resampled, resampled_scores
from diascope.comparison import HIGHER_IS_BETTER
from diascope.config import SelectionConfig
from diascope.feature_sets import FeatureSet
from diascope.selection import SAME_COST


class Choice:
    """How sets that cost these billions of multiply-adds (n,) are chosen by their scores."""

    def __init__(self, sets: Sequence[FeatureSet], gigamacs: np.ndarray, selection: SelectionConfig) -> None:
        self._additive, self._gigamacs = _projection(sets), gigamacs
        self._sign = 1 if HIGHER_IS_BETTER[selection.metric] else -1
        self._metric, self._tolerance = selection.metric, selection.tolerance

    def smoothed(self, scores: np.ndarray) -> np.ndarray:
        """Return what the additive model says of scores (n, …)."""
        return self._additive @ scores

    def taken(self, scores: np.ndarray) -> np.ndarray:
        """Return the place (b,) of the set to take by each column of scores (n, b).

        Of those that the model calls as good as the best within the tolerance, it is the one that costs least; of those
        that cost the same, the best.
        """
        smoothed = self._sign * self.smoothed(scores)
        tied = smoothed >= smoothed.max(axis=0) - self._tolerance
        least = np.where(tied, self._gigamacs[:, None], np.inf).min(axis=0)
        cheap = tied & (self._gigamacs[:, None] <= SAME_COST * least)
        return np.where(cheap, smoothed, -np.inf).argmax(axis=0)

    def optimism(
        self, scores: np.ndarray, logits: Sequence[np.ndarray], labels: np.ndarray, groups: np.ndarray, seed: int
    ) -> float:
        """Return how much too good the score of the set that is taken is, because it was chosen by it; at least 0.

        Groups of images are drawn again; what is taken by those that were drawn is measured on the others
        (Tsamardinos, Greasidou and Borboudakis, Machine Learning 2018). `scores` (n,) are those of the logits.
        """
        inside, outside = resampled(labels, groups, seed)
        drawn = np.stack([resampled_scores(each, labels, self._metric, inside) for each in logits])
        others = np.stack([resampled_scores(each, labels, self._metric, outside) for each in logits])
        defined = np.isfinite(drawn).all(axis=0) & np.isfinite(others).all(axis=0)
        if not defined.any():
            return 0.0
        taken = self.taken(drawn[:, defined])
        fair = others[:, defined][taken, np.arange(len(taken))].mean()
        return max(0.0, float(self._sign * (scores[self.taken(scores[:, None])[0]] - fair)))


def _projection(sets: Sequence[FeatureSet]) -> np.ndarray:
    """The matrix (n, n) that makes of scores what image sizes, depth and poolings add up to, by least squares."""
    parts = [[each.sizes, len(each.layers), each.pooling] for each in sets]
    columns = [np.ones(len(sets))]
    for kind in range(3):
        values = list(dict.fromkeys(part[kind] for part in parts))
        columns += [np.array([float(part[kind] == value) for part in parts]) for value in values]
    design = np.stack(columns, axis=1)
    return design @ np.linalg.pinv(design)
