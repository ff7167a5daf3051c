"""How good is a candidate on images that its fits had not seen?"""

from dataclasses import dataclass

import numpy as np

from diascope.calibration import fit_temperature, softmax
from diascope.metrics import accuracy, balanced_accuracy, log_loss, macro_auroc
from diascope.results import CurvePoint

SCORES = {"auroc": macro_auroc, "accuracy": accuracy, "balanced_accuracy": balanced_accuracy, "log_loss": log_loss}
HIGHER_IS_BETTER = {"auroc": True, "balanced_accuracy": True, "log_loss": False}


@dataclass(frozen=True)
class Comparison:
    """Out-of-fold logits (m, n_classes) of rows (m,), with what was chosen and how the fit went."""

    rows: np.ndarray
    logits: np.ndarray
    chosen: dict[str, float]
    axis: str
    curve: list[CurvePoint]
    distances: np.ndarray  # to the fitted images (m,), of networks that are trained; of others none
    note: str = ""  # what else there is to say of the candidate, in words

    def scores(self, labels: np.ndarray) -> dict[str, float]:
        """Return each score, of calibrated probabilities; `labels` are those of all development images."""
        truth = labels[self.rows]
        probabilities = softmax(self.logits, fit_temperature(self.logits, truth))
        return {name: measure(truth, probabilities) for name, measure in SCORES.items()}


def worsened(score: float, by: float, metric: str) -> float:
    """Return a score without what is too good about it."""
    return score - by if HIGHER_IS_BETTER[metric] else score + by
