"""How often does the classifier answer, and how good are the answers that it gives?"""

import numpy as np
from numpy.typing import ArrayLike

from diascope import intervals
from diascope.answers import Abstention, Familiarity, deciding_score, verdict
from diascope.bootstrap import Units, resampled_weights, sampling_units
from diascope.metrics import Estimate, OperatingPoint, measure
from diascope.results import Decisions
from diascope.uncertainty import independent


def measure_decisions(
    labels: np.ndarray,
    probabilities: np.ndarray,
    distances: np.ndarray | None,
    class_names: list[str],
    *,
    operating_point: OperatingPoint | None,
    familiarity: Familiarity | None,
    abstention: Abstention | None,
    groups: ArrayLike | None = None,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Decisions:
    """Return the decisions on images of the kind that the classifier was trained on.

    Parameters
    ----------
    labels: (n,) numbers of classes; probabilities: (n, n_classes), calibrated.
    distances: (n,) relative to the threshold; None where the classifier stores no reference. Every image beyond it is a
        false alarm here.
    groups: (n,), which images are of one patient; they are then drawn together for the intervals.
    """
    found = np.array(verdict(deciding_score(probabilities, class_names, operating_point), distances, abstention))
    units = sampling_units(labels, groups)

    def share(decision: str) -> Estimate:
        return _share(found == decision, units, confidence, resamples, seed)

    def right(decision: str) -> tuple[Estimate, Estimate]:
        chosen = found == decision
        if not chosen.any():
            return Estimate(value=None), Estimate(value=None)
        figures = measure(
            labels[chosen],
            probabilities[chosen],
            class_names,
            groups=None if groups is None else np.asarray(groups)[chosen],
            operating_point=operating_point,
            confidence=confidence,
            resamples=resamples,
            seed=seed,
        )
        return figures.accuracy, figures.auroc

    accuracy, auroc = right("ok")
    return Decisions(
        n=len(found),
        n_ok=int((found == "ok").sum()),
        n_uncertain=int((found == "uncertain").sum()),
        n_out_of_distribution=int((found == "out_of_distribution").sum()),
        ok=share("ok"),
        uncertain=share("uncertain"),
        out_of_distribution=share("out_of_distribution"),
        accuracy=accuracy,
        auroc=auroc,
        accuracy_of_uncertain=right("uncertain")[0],
        familiarity=familiarity,
        abstention=abstention,
    )


def _share(marked: np.ndarray, units: Units, confidence: float, resamples: int, seed: int) -> Estimate:
    """Return the share of images with a bootstrap interval, widened to Wilson's."""
    value = float(marked.mean())
    blocks = [marked @ weights / weights.sum(axis=0) for weights in resampled_weights(units, resamples, seed)]
    replicates = np.concatenate(blocks)
    n = independent(value, replicates, np.ones(len(marked), bool), units)
    low, high = intervals.hull(intervals.percentile(replicates, confidence), intervals.wilson(value, n, confidence))
    return Estimate(value=value, low=max(low, 0.0), high=min(high, 1.0))  # a sum of weights may round to more
