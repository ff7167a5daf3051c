"""How far may each figure be from the truth? Bootstrap intervals, never narrower than what so few cases can show."""

import numpy as np
from numpy.typing import NDArray

from diascope import intervals
from diascope.bootstrap import Figures, Floats, Ints, Units, resampled_weights
from diascope.intervals import NOWHERE, Interval

CLASS_FIGURES = ("auroc", "auprc", "sensitivity", "specificity", "precision", "f1")
SHARES = ("accuracy", "sensitivity", "specificity")  # proportions of images that the sample fixes the number of
LOSSES = ("brier", "log_loss")
ROUNDING = 1e-12  # a smaller variance is none


class Uncertainty:
    """Figures of one set of predictions with their intervals.

    The percentile bootstrap calls a perfect figure certain and is too sure of a nearly perfect one. So its interval is
    widened, where needed, to contain a second one that covers near 1 as well: for proportions Wilson's, for the other
    figures one on the logit scale from the variance of the resamples, and where nothing varies (at 0 and 1) a score
    interval from the number of cases. Losses have the percentile interval alone. Grouped images count in a score
    interval for as many independent ones as the bootstrap variance says (Korn and Graubard, Confidence Intervals for
    Proportions with Small Expected Number of Positive Counts, Survey Methodology 1998), and where nothing varies for
    one per group.
    """

    def __init__(
        self,
        labels: Ints,
        predicted: Ints,
        units: Units,
        figures: Figures,
        *,
        confidence: float,
        resamples: int,
        seed: int,
    ) -> None:
        self._labels, self._predicted, self._units = labels, predicted, units
        self._confidence = confidence
        self._present = np.unique(labels)
        self._values = {name: value[..., 0] for name, value in figures(np.ones((len(labels), 1))).items()}
        blocks = [figures(weights) for weights in resampled_weights(units, resamples, seed)]
        self._replicates = {name: np.concatenate([block[name] for block in blocks], axis=-1) for name in self._values}

    def of_class(self, name: str, c: int) -> tuple[float, Interval]:
        """A figure of `CLASS_FIGURES` for class c, and its interval; NaN where it is not defined."""
        value, replicates = self._class_figure(name, c)
        if np.isnan(value):
            return value, NOWHERE
        plain = intervals.percentile(replicates, self._confidence)
        if name in SHARES or not _varies(value, replicates):
            return value, intervals.hull(plain, self._score_interval(name, c))
        return value, intervals.hull(plain, intervals.logit(value, replicates, self._confidence))

    def of_all(self, name: str) -> tuple[float, Interval]:
        """A figure of the whole or a macro figure, and its interval; NaN where it is not defined."""
        value, replicates = float(self._values[name]), self._replicates[name]
        if np.isnan(value):
            return value, NOWHERE
        if name.startswith("ece"):
            return value, self._calibration_interval(name)
        plain = intervals.percentile(replicates, self._confidence)
        if name in LOSSES:
            return value, plain
        if name == "accuracy":
            n = independent(value, replicates, np.ones(len(self._labels), dtype=bool), self._units)
            return value, intervals.hull(plain, intervals.wilson(value, n, self._confidence))
        if not _varies(value, replicates):
            return value, intervals.hull(plain, self._macro_interval(name.replace("balanced_accuracy", "sensitivity")))
        return value, intervals.hull(plain, intervals.logit(value, replicates, self._confidence))

    def _class_figure(self, name: str, c: int) -> tuple[float, Floats]:
        return float(self._values[f"class_{name}"][c]), self._replicates[f"class_{name}"][c]

    def _calibration_interval(self, name: str) -> Interval:
        gaps = name.replace("ece", "bin_gaps")
        noise = np.abs(self._replicates[gaps] - self._values[gaps][:, None]).sum(axis=0)
        value, replicates = float(self._values[name]), self._replicates[name]
        return intervals.calibration_error(value, replicates, noise, self._confidence)

    def _score_interval(self, name: str, c: int) -> Interval:
        """From the number of independent images that the figure of class c is made of."""
        value, replicates = self._class_figure(name, c)
        truth, called = self._labels == c, self._predicted == c
        if name == "auroc":
            sides = [independent(value, replicates, side, self._units) for side in (truth, ~truth)]
            return intervals.auroc_score_interval(value, sides[0], sides[1], self._confidence)
        counted = {
            "sensitivity": truth,
            "specificity": ~truth,
            "auprc": truth,
            "precision": called,
            "f1": truth | called,
        }[name]
        n = independent(value, replicates, counted, self._units)
        interval = intervals.f1_score_interval if name == "f1" else intervals.wilson
        return interval(value, n, self._confidence)

    def _macro_interval(self, name: str) -> Interval:
        """From the score intervals of the classes, where no class's figure varies; one that is never called has 0."""
        values = self._values[f"class_{name}"][self._present]
        limits = [
            self._score_interval(name, c) if np.isfinite(value) else (0.0, 0.0)
            for c, value in zip(self._present, values, strict=True)
        ]
        low, high = np.array(limits).T
        # The images of two classes are others; what other figures of two classes have in common is unknown: the worst.
        k = len(values)
        correlation = np.eye(k) if name == "sensitivity" else np.ones((k, k))
        return intervals.mean_interval(np.nan_to_num(values), low, high, correlation)


def independent(share: float, replicates: Floats, counted: NDArray[np.bool_], units: Units) -> float:
    """How many independent images those `counted` (n,) are worth, for a share of them with `replicates` (b,)."""
    images = int(counted.sum())
    if units.n == len(counted):
        return images
    if not _varies(share, replicates):
        return len(np.unique(units.of_image[counted]))
    return float(np.clip(share * (1 - share) / np.nanvar(replicates), 1, images))


def _varies(value: float, replicates: Floats) -> bool:
    """Whether the resamples say how uncertain a figure between 0 and 1 is."""
    defined = replicates[np.isfinite(replicates)]
    return 0 < value < 1 and len(defined) > 0 and bool(defined.var() > ROUNDING)
