"""Between which values does the true figure lie? Intervals from resamples, and bounds where resamples say nothing."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Interval = tuple[float, float]

NOWHERE: Interval = (float("nan"), float("nan"))
UNDEFINED_SHARE = 0.05  # of resamples in which a figure may be undefined before its interval is given up


def percentile(replicates: Floats, confidence: float) -> Interval:
    """Percentile interval of replicates (b,); NaN where too many of them are undefined.

    Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    defined = replicates[np.isfinite(replicates)]
    if len(defined) < (1 - UNDEFINED_SHARE) * len(replicates):
        return NOWHERE
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def logit(value: float, replicates: Floats, confidence: float) -> Interval:
    """Interval of a figure strictly between 0 and 1, symmetric on the logit scale, from the variance of replicates.

    Near 1 the percentile interval of an area under a curve is too short and lies too high; this one covers: Pepe, The
    Statistical Evaluation of Medical Tests for Classification and Prediction, 2003; for average precision Boyd, Eng
    and Page, Area under the Precision-Recall Curve, ECML 2013. `replicates` are (b,).
    """
    half = _z(confidence) * _spread(replicates) / (value * (1 - value))
    middle = float(np.log(value / (1 - value)))
    return float(1 / (1 + np.exp(half - middle))), float(1 / (1 + np.exp(-half - middle)))


def normal(value: float, replicates: Floats, confidence: float) -> Interval:
    """Interval of a difference, symmetric around it, from the variance of replicates (b,)."""
    half = _z(confidence) * _spread(replicates)
    return value - half, value + half


def calibration_error(value: float, replicates: Floats, noise: Floats, confidence: float) -> Interval:
    """Interval of a mean absolute gap, which noise makes larger: percentile above, below with room for that noise.

    `noise` (b,) is the mean absolute deviation of the gaps of a resample from those of the sample. By the triangle
    inequality the gap cannot have grown by more than that, so what it does not exceed may be noise alone.
    """
    defined = noise[np.isfinite(noise)]
    by_noise = float(np.quantile(defined, (1 + confidence) / 2)) if len(defined) else float("nan")
    return max(value - by_noise, 0.0), max(percentile(replicates, confidence)[1], value)


def hull(first: Interval, second: Interval) -> Interval:
    """The narrowest interval that contains both; NaN where one of them is."""
    return float(np.minimum(first[0], second[0])), float(np.maximum(first[1], second[1]))


def wilson(share: float, n: float, confidence: float) -> Interval:
    """Score interval of a proportion over n independent units; not degenerate at 0 or 1.

    Wilson, Probable Inference, JASA 1927; recommended by Newcombe, Statistics in Medicine 1998, and for diagnostic
    tests by the FDA's Statistical Guidance on Reporting Results, 2007.
    """
    z2 = _z(confidence) ** 2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return float(max(middle - half, 0.0)), float(min(middle + half, 1.0))


def f1_score_interval(f1: float, n: float, confidence: float) -> Interval:
    """Interval of F1 by Wilson's of TP / (TP + FP + FN), of which F1 is an increasing function; n = TP + FP + FN."""
    low, high = wilson(f1 / (2 - f1), n, confidence)
    return 2 * low / (1 + low), 2 * high / (1 + high)


def auroc_variance(auroc: float, positives: float, negatives: float) -> float:
    """Variance of an AUROC by Hanley and McNeil, Radiology 1982, with Newcombe's mean of the sizes in both terms."""
    half = (positives + negatives) / 2 - 1
    terms = 1 + half * (1 - auroc) / (2 - auroc) + half * auroc / (1 + auroc)
    return auroc * (1 - auroc) * terms / (positives * negatives)


def auroc_score_interval(auroc: float, positives: float, negatives: float, confidence: float) -> Interval:
    """Score interval of an AUROC; not degenerate at 0 or 1.

    The AUROCs from which the one seen is not further than z standard errors, their own: method 5 of Newcombe,
    Confidence Intervals for an Effect Size Measure Based on the Mann-Whitney Statistic. Part 2, Statistics in
    Medicine 2006.
    """
    z = _z(confidence)

    def distance(candidate: float) -> float:
        return abs(candidate - auroc) - z * float(np.sqrt(auroc_variance(candidate, positives, negatives)))

    return _edge(distance, auroc, 0.0), _edge(distance, auroc, 1.0)


def _edge(distance: Callable[[float], float], inside: float, end: float) -> float:
    """Where `distance` turns positive between `inside` and `end`, by bisection."""
    outside = end
    for _ in range(50):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if distance(middle) <= 0 else (inside, middle)
    return outside


def mean_interval(values: Floats, low: Floats, high: Floats, correlation: Floats) -> Interval:
    """Interval of the mean of estimates (k,) from the limits of each and their correlation (k, k).

    Method of variance estimates recovery: Zou and Donner, Construction of Confidence Limits about Effect Measures,
    Statistics in Medicine 2008.
    """
    below, above = values - low, high - values
    k = len(values)
    down = np.sqrt(max(float(below @ correlation @ below), 0.0)) / k
    up = np.sqrt(max(float(above @ correlation @ above), 0.0)) / k
    return float(values.mean() - down), float(min(values.mean() + up, 1.0))


def _spread(replicates: Floats) -> float:
    defined = replicates[np.isfinite(replicates)]
    return float(defined.std()) if len(defined) else float("nan")


def _z(confidence: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf((1 + confidence) / 2)
