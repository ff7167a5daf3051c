"""How do the images of a fold look to a linear head, and need that be found out again for the next one?"""

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from diascope.heads import Reduced

Key = tuple[tuple[int, ...], bytes, bytes]
ROOM = 2 * 1024**3  # bytes that are kept: five folds of 8,000 images; of more, each trial decomposes anew


@dataclass(frozen=True)
class ReducedFold:
    """Fitted images (n, r) and others (m, r) in the dimensions that the fitted ones span."""

    fitted: np.ndarray
    others: np.ndarray


class Reductions:
    """Folds as they were reduced, those that were not used for longest forgotten where they take more than `room`.

    The decomposition takes longer than a fit, and heads of any kind, penalty or weighting share it.
    """

    def __init__(self, room: int = ROOM) -> None:
        self._room, self._used = room, 0
        # The features are kept with what was made of them, so that no others can come to have their identity.
        self._kept: OrderedDict[Key, tuple[tuple[np.ndarray, ...], ReducedFold]] = OrderedDict()

    def of(
        self,
        features: np.ndarray,
        widths: list[int],
        fitted: np.ndarray,
        others: np.ndarray,
        views: tuple[np.ndarray, ...] = (),
    ) -> ReducedFold:
        """Return some rows of features (n, d) reduced as the images that are fitted are; `widths` are of the blocks.

        Of the others it is the mean over the image and its further `views`: a linear head answers that with the mean of
        its answers.
        """
        every = (features, *views)
        key = (tuple(map(id, every)), fitted.tobytes(), others.tobytes())
        if key not in self._kept:
            reduced = Reduced.of(features[fitted], widths)
            self._keep(key, every, ReducedFold(reduced.z, np.mean([reduced(each[others]) for each in every], axis=0)))
        self._kept.move_to_end(key)
        return self._kept[key][1]

    def _keep(self, key: Key, features: tuple[np.ndarray, ...], fold: ReducedFold) -> None:
        self._kept[key] = features, fold
        self._used += _bytes(fold)
        while self._used > self._room and len(self._kept) > 1:
            _, (_, oldest) = self._kept.popitem(last=False)
            self._used -= _bytes(oldest)


def _bytes(fold: ReducedFold) -> int:
    return fold.fitted.nbytes + fold.others.nbytes
