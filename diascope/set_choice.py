"""Which of many feature sets is taken, and how much of its score is luck?

The best of many scores is a lucky one, and the cheapest that scores as well was lucky twice. So all image sizes and
poolings are kept and only the number of layers is chosen, unless another set is shown to be better, or to be as good
and cheaper: shown by images that are drawn again, not by its score alone.
"""

from collections.abc import Sequence

import numpy as np

from diascope.calibration import softmax
from diascope.choice_bias import lost, resampled, resampled_scores
from diascope.comparison import HIGHER_IS_BETTER, SCORES
from diascope.config import SelectionConfig
from diascope.feature_sets import FeatureSet
from diascope.selection import SAME_COST

DOUBT = 0.05  # that what is taken for better, or for as good, is not


class Choice:
    """How sets are chosen by the logits that they leave out of fold, and by what they cost."""

    def __init__(
        self,
        sets: Sequence[FeatureSet],
        logits: Sequence[np.ndarray],
        gigamacs: np.ndarray,
        labels: np.ndarray,
        groups: np.ndarray,
        selection: SelectionConfig,
        seed: int,
    ) -> None:
        """`logits` (m, n_classes) and `gigamacs` (n,) are those of the sets, the first of which is of all features.

        `labels` and `groups` (m,) are those of the logits' images.
        """
        metric, whole = selection.metric, sets[0]
        probabilities = [softmax(each) for each in logits]
        self.scores = np.array([SCORES[metric](labels, each) for each in probabilities])
        self._losses = np.array([SCORES["log_loss"](labels, each) for each in probabilities])
        self._sign = 1 if HIGHER_IS_BETTER[metric] else -1
        self._gigamacs, self._tolerance = gigamacs, selection.tolerance
        self._plain = [i for i, s in enumerate(sets) if (s.sizes, s.pooling) == (whole.sizes, whole.pooling)]
        inside, outside = resampled(labels, groups, seed)
        drawn = np.stack([resampled_scores(each, labels, metric, inside) for each in probabilities])
        self._drawn = self._sign * drawn[:, np.isfinite(drawn).all(axis=0)]
        plain = [probabilities[place] for place in self._plain]
        self._drawn_losses = np.stack([resampled_scores(each, labels, "log_loss", inside) for each in plain])
        self._others = self._sign * np.stack([resampled_scores(each, labels, metric, outside) for each in plain])

    @property
    def by_layers(self) -> int:
        """The place of the best of the sets with all image sizes and poolings.

        By the log loss, whatever the metric: it is smoother than ranks and counts.
        """
        return min(self._plain, key=lambda place: self._losses[place])

    @property
    def taken(self) -> int:
        """The place of the set to take: the best by its layers, or what is shown to be better or cheaper than that."""
        place = self._best_of(np.flatnonzero(self.least_gain(self.by_layers) > 0), self.by_layers)
        as_good = self.least_gain(place) >= -self._tolerance
        cheaper = as_good & (SAME_COST * self._gigamacs < self._gigamacs[place])
        least = self._gigamacs[cheaper].min(initial=np.inf)
        return self._best_of(np.flatnonzero(cheaper & (self._gigamacs <= SAME_COST * least)), place)

    def least_gain(self, place: int) -> np.ndarray:
        """Return by how much each set (n,) is better than the one at this place, at least; -inf: nobody can tell."""
        if not self._drawn.shape[1]:
            return np.full(len(self.scores), -np.inf)
        return np.asarray(np.quantile(self._drawn - self._drawn[place], DOUBT, axis=1))

    @property
    def optimism(self) -> float:
        """How much too good the score of what is taken is, because it was chosen by it; at least 0.

        For the number of layers, groups of images are drawn again; what is best by those that were drawn is measured on
        the others, against what is best by all (Tsamardinos, Greasidou and Borboudakis, Machine Learning 2018). Of what
        is taken instead, no more than the least gain is believed: of many sets, some are shown to be better by luck.
        """
        added = lost(self._others, self._drawn_losses.argmin(axis=0), self._plain.index(self.by_layers))
        if self.taken == self.by_layers:
            return added
        seems = self._sign * (self.scores[self.taken] - self.scores[self.by_layers])
        return max(0.0, added + float(seems - self.least_gain(self.by_layers)[self.taken]))

    def _best_of(self, places: np.ndarray, otherwise: int) -> int:
        """The best of some sets by its score, or another one where there are none."""
        return int(places[(self._sign * self.scores[places]).argmax()]) if len(places) else otherwise
