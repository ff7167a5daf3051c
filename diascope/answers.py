"""What does the classifier say of one image, and when does it rather not?"""

from typing import Literal

import numpy as np

from diascope.metrics import OperatingPoint
from diascope.schema import Frozen

Verdict = Literal["ok", "uncertain", "out_of_distribution"]


class Familiarity(Frozen):
    """When an image counts as unlike everything the classifier was trained on."""

    method: str  # in words, with its source
    threshold: float  # a larger distance is out of distribution
    percentile: float  # of held-out training images, which the threshold was taken from
    n: int  # held-out training images


class Abstention(Frozen):
    """When a probability is too undecided to be answered with `ok`.

    With two classes the positive class's probability between `low` and `high`; with more, a largest probability
    below `high`.
    """

    low: float
    high: float
    share: float  # of held-out training images that it leaves out

    def leaves_out(self, score: np.ndarray) -> np.ndarray:
        """Return whether scores, as `deciding_score` gives them, lie within the band."""
        return (score > self.low) & (score < self.high)


class Answer(Frozen):
    """One image, classified."""

    label: str  # the class by the operating point, or the most probable one; given whatever the decision
    probability: float  # of that class, calibrated
    probabilities: dict[str, float]
    decision: Verdict
    reason: str  # one sentence
    threshold: float | None  # operating threshold on the positive class's probability; two classes only
    distance: float | None  # to the training images, relative to the threshold: above 1 is out of distribution


def deciding_score(probabilities: np.ndarray, class_names: list[str], point: OperatingPoint | None) -> np.ndarray:
    """Return what a decision hangs on (n,): the positive class's probability, or the largest where there is no point.

    Probabilities are (n, n_classes).
    """
    return probabilities[:, class_names.index(point.positive_class)] if point else probabilities.max(axis=1)


def verdict(scores: np.ndarray, distances: np.ndarray | None, abstention: Abstention | None) -> list[Verdict]:
    """Return the decision on each image, from deciding scores (n,) and relative distances (n,).

    Unlike the training images comes first: of such an image no probability means anything.
    """
    undecided = abstention.leaves_out(scores) if abstention else np.zeros(len(scores), bool)
    foreign = np.zeros(len(scores), bool) if distances is None else distances > 1
    return [
        "out_of_distribution" if far else "uncertain" if near else "ok"
        for far, near in zip(foreign, undecided, strict=True)
    ]


def reason(
    decision: Verdict,
    label: str,
    score: float,
    distance: float | None,
    point: OperatingPoint | None,
    abstention: Abstention | None,
    familiarity: Familiarity | None,
) -> str:
    """Return one sentence that says why the decision is what it is, with its figures."""
    if decision == "out_of_distribution" and familiarity and distance is not None:
        limit = f"the {familiarity.percentile:g}th percentile of {familiarity.n:,} held-out training images"
        return (
            "The image is unlike those the model was trained on: its distance to them is "
            f"{_times(distance)} the limit, which is {limit}."
        )
    if point is None:
        told = f"The most probable class, “{label}”, has a probability of {_shown(score)}"
        if decision == "ok" or not abstention:
            return told + "."
        return f"{told}, and below {_shown(abstention.high)} the model leaves the decision to a person."
    told = f"The probability of “{point.positive_class}” is {_shown(score)}"
    threshold = _shown(point.threshold)
    if decision == "ok" or not abstention:
        side = "at or above" if label == point.positive_class else "below"
        return f"{told}, {side} the operating threshold of {threshold}."
    band = f"{_shown(abstention.low)} to {_shown(abstention.high)}"
    return (
        f"{told}, near the operating threshold of {threshold}: from {band} the model leaves the decision to a person."
    )


def _times(distance: float) -> str:
    """Never 1.00 times: it is of what is beyond the limit."""
    shown = min(max(distance, 1.01), 1e6)
    return f"{shown:.2f} times" if shown < 10 else f"{shown:,.0f} times"


def _shown(probability: float) -> str:
    """Two decimals, or as many as tell the figure from 0 and 1."""
    digits = 2
    while digits < 6 and round(probability, digits) in (0, 1):
        digits += 1
    if round(probability, digits) in (0, 1):  # also what is 0 or 1 in single precision: no model is certain
        return "below 0.000001" if probability < 0.5 else "above 0.999999"
    return f"{probability:.{digits}f}"
