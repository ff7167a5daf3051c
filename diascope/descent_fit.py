"""For how many epochs does gradient descent fit a hidden layer on stored features?"""

import statistics
from typing import TYPE_CHECKING

import numpy as np

from diascope.comparison import Comparison
from diascope.development import Fold
from diascope.fit import Fit
from diascope.heads import Head
from diascope.results import CurvePoint
from diascope.rows import Rows, weighed_rows

if TYPE_CHECKING:
    import keras


class DescentFit(Fit):
    """A hidden layer on features of a frozen network."""

    def compare(self, pairs: list[Fold]) -> Comparison:
        """Return held-out logits, and the number of epochs that does best."""
        logits, curves = [], []
        for fit, held_out in pairs:
            share = self.development.with_stopping_share(fit, self.seed)
            head, curve = self._mlp(weighed_rows(*share, self.development, self.candidate, self.seed))
            logits.append(self.mean_over_views(head.logits, held_out))
            curves.append(curve)
        rows = np.concatenate([held_out for _, held_out in pairs])
        epochs = [kept_epoch(curve, self.candidate.early_stopping) for curve in curves]
        chosen = {"epochs": float(statistics.median_high(epochs))}
        return Comparison(rows, np.concatenate(logits), chosen, "epoch", curves[0], np.empty(0))

    def final(self, chosen: dict[str, float]) -> tuple["keras.Model", Head]:
        """Fit all development images for as many epochs as were chosen."""
        every = np.arange(len(self.labels))
        rows = weighed_rows(every, None, self.development, self.candidate, self.seed, int(chosen["epochs"]))
        return self.backbone.network(), self._mlp(rows)[0]

    def _mlp(self, rows: Rows) -> tuple[Head, list[CurvePoint]]:
        from diascope.gradient import fit_mlp

        return fit_mlp(self.inputs, self.labels, self.n_classes, rows, self.candidate, self.seed)


def kept_epoch(curve: list[CurvePoint], patience: int) -> int:
    """Return the epoch whose weights were kept: the final fit, which nothing stops, runs for as long."""
    if not patience:
        return len(curve)
    losses = [point.held_out_loss for point in curve if point.held_out_loss is not None]
    return 1 + int(np.argmin(losses))
