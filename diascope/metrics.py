"""How good is a classifier, and how sure are we?

Rules that hold for every figure. The predicted class is the most probable one (a draw: the first); in a two-class
problem with an operating point it is the positive class wherever its probability reaches the threshold, and everything
that depends on predicted classes (accuracy, confusion, sensitivity, ...) goes by that. Calibration (ECE, reliability)
always concerns the most probable class. A class without images in the sample has no figures and is left out of macro
means. Precision is not defined for a class that is never predicted, and counts as 0 in the macro mean.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from diascope.bootstrap import (
    CALIBRATION_BINS,
    Figures,
    Floats,
    Ints,
    Ranking,
    calibration_bins,
    losses,
    resampled_weights,
    sampling_units,
)
from diascope.errors import InputError
from diascope.intervals import Interval, hull, normal, percentile
from diascope.schema import Frozen
from diascope.uncertainty import CLASS_FIGURES, Uncertainty

PairedMetric = Literal["auroc", "accuracy", "balanced_accuracy"]
WHOLE_FIGURES = ("accuracy", "balanced_accuracy", "brier", "log_loss", "ece")


class Estimate(Frozen):
    """A figure with its bootstrap interval (see `diascope.uncertainty`); `None` where it is not defined."""

    value: float | None
    low: float | None = None
    high: float | None = None


class ClassMetrics(Frozen):
    """One class against the rest, at the decision rule of the classifier."""

    name: str
    n: int
    auroc: Estimate
    auprc: Estimate
    sensitivity: Estimate
    specificity: Estimate
    precision: Estimate
    f1: Estimate


class OperatingPoint(Frozen):
    """Threshold on the positive class's probability, chosen before the test split was read."""

    positive_class: str
    threshold: float
    target_sensitivity: float
    sensitivity: Estimate | None = None  # on the split that `Metrics` describes
    specificity: Estimate | None = None


class ReliabilityBin(Frozen):
    low: float
    high: float
    n: int
    confidence: float | None  # mean probability of the predicted class
    accuracy: float | None


class Metrics(Frozen):
    """All figures of one set of predictions; macro means unweighted over classes, one class against the rest."""

    n: int
    n_groups: int | None  # units of the bootstrap where they are not images (patients)
    interval_unit: str  # "image", "patient" or "inferred group"
    confidence: float
    resamples: int
    class_names: list[str]
    confusion: list[list[int]]  # rows: truth, columns: prediction
    accuracy: Estimate
    balanced_accuracy: Estimate
    auroc: Estimate  # macro; two classes: of the positive class
    auprc: Estimate
    sensitivity: Estimate  # macro; two classes: of the positive class at the operating point
    specificity: Estimate
    precision: Estimate
    f1: Estimate
    brier: Estimate  # mean over images of the squared error summed over classes
    log_loss: Estimate
    ece: Estimate  # expected calibration error, 10 equal-width bins of the predicted class's probability
    ece_uncalibrated: Estimate  # the same with the temperature left out
    majority_baseline: float  # accuracy of always answering the most frequent class
    per_class: list[ClassMetrics]
    operating_point: OperatingPoint | None = None
    reliability: list[ReliabilityBin]


def measure(
    labels: ArrayLike,
    probabilities: ArrayLike,
    class_names: list[str],
    *,
    uncalibrated: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    interval_unit: str = "image",
    operating_point: OperatingPoint | None = None,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Metrics:
    """All figures of probabilities (n, k) for labels (n,), which are indices of `class_names`.

    `groups` (n,) says which images are of one patient: they are then drawn together, stratified by the class of most
    of their images. `uncalibrated` (n, k) are the probabilities before the temperature. The result does not depend on
    the order of the images. Raises InputError where shapes, labels or probabilities cannot be.
    """
    truth, p = _checked(labels, probabilities, len(class_names))
    before = None if uncalibrated is None else _checked(labels, uncalibrated, len(class_names))[1]
    order = _canonical_order(truth, groups, p, before)
    truth, p, before = truth[order], p[order], None if before is None else before[order]
    positive = _positive_class(class_names, operating_point)
    predicted = _predicted(p, positive, operating_point)
    units = sampling_units(truth, None if groups is None else np.asarray(groups)[order])
    figures = Figures(truth, p, predicted, before)
    found = Uncertainty(truth, predicted, units, figures, confidence=confidence, resamples=resamples, seed=seed)
    per_class = [_class_metrics(name, c, truth, found) for c, name in enumerate(class_names)]
    whole = {name: _estimate(found.of_all(name)) for name in (*CLASS_FIGURES, *WHOLE_FIGURES)}
    if len(class_names) == 2:
        whole |= {name: getattr(per_class[positive], name) for name in CLASS_FIGURES}
    return Metrics(
        n=len(truth),
        n_groups=None if groups is None else units.n,
        interval_unit=interval_unit,
        confidence=confidence,
        resamples=resamples,
        class_names=list(class_names),
        confusion=_confusion(truth, predicted, len(class_names)),
        ece_uncalibrated=Estimate(value=None) if before is None else _estimate(found.of_all("ece_uncalibrated")),
        majority_baseline=float(np.bincount(truth).max() / len(truth)),
        per_class=per_class,
        operating_point=_measured(operating_point, per_class[positive]),
        reliability=_reliability(truth, p),
        **whole,
    )


def macro_auroc(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean one-vs-rest AUROC over the classes that have images; of two classes, that of the second.

    `labels` are (n,), `probabilities` (n, k); NaN where fewer than two classes have images.
    """
    return _value("auroc", labels, probabilities)


def accuracy(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Share of the images whose most probable class is the true one; `probabilities` is (n, k)."""
    return _value("accuracy", labels, probabilities)


def balanced_accuracy(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean sensitivity of the most probable class over the classes that have images; `probabilities` is (n, k)."""
    return _value("balanced_accuracy", labels, probabilities)


def log_loss(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean negative logarithm of the probability of the true class; `probabilities` is (n, k)."""
    return float(losses(*_checked(labels, probabilities))[:, 1].mean())


def paired_bootstrap(
    labels: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    *,
    metric: PairedMetric = "auroc",
    groups: ArrayLike | None = None,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Difference a - b of a figure of two classifiers on the same images, with its bootstrap interval.

    The interval contains the percentile one and that of the normal distribution, as the former is too short where both
    figures are near 1. `a` and `b` are probabilities (n, k); both are measured in every resample, so that what makes an
    image hard for both cancels. `auroc` is as in `macro_auroc`, the others go by the most probable class. `groups` as
    in `measure`.
    """
    truth, first = _checked(labels, a)
    second = _checked(labels, b, first.shape[1])[1]
    order = _canonical_order(truth, groups, first, second)
    truth, first, second = truth[order], first[order], second[order]
    one, other = _figure(metric, truth, first), _figure(metric, truth, second)
    units = sampling_units(truth, None if groups is None else np.asarray(groups)[order])
    whole = np.ones((len(truth), 1))
    blocks = [one(weights) - other(weights) for weights in resampled_weights(units, resamples, seed)]
    differences, value = np.concatenate(blocks), float((one(whole) - other(whole))[0])
    if np.isnan(value):
        return Estimate(value=None)
    return _estimate((value, hull(percentile(differences, confidence), normal(value, differences, confidence))))


def choose_threshold(labels: ArrayLike, scores: ArrayLike, target_sensitivity: float) -> float:
    """Highest threshold at which at least `target_sensitivity` of the positive images are called positive.

    `labels` (n,) are true for the positive class; an image is called positive when its score (n,) reaches the
    threshold, so images of equal score are called alike. Raises InputError without a positive image.
    """
    positive = np.sort(np.asarray(scores, dtype=np.float64)[np.asarray(labels, dtype=bool)])[::-1]
    if len(positive) == 0:
        raise InputError("an operating point needs at least one image of the positive class")
    if not np.isfinite(positive).all() or not 0 < target_sensitivity <= 1:
        raise InputError(f"an operating point needs finite scores and a target in (0, 1], not {target_sensitivity}")
    rounding = 1e-9  # 0.9 of 10 images are 9, though the product is a little more
    return float(positive[int(np.ceil(target_sensitivity * len(positive) - rounding)) - 1])


def _value(metric: PairedMetric, labels: ArrayLike, probabilities: ArrayLike) -> float:
    truth, p = _checked(labels, probabilities)
    return float(_figure(metric, truth, p)(np.ones((len(truth), 1)))[0])


def _figure(metric: PairedMetric, labels: Ints, probabilities: Floats) -> Callable[[Floats], Floats]:
    """The figure (b,) as a function of the images' weights (n, b)."""
    k, present = probabilities.shape[1], np.unique(labels)
    if metric == "auroc":
        classes = [1] if k == 2 else present
        rankings = [Ranking(labels == c, probabilities[:, c]) for c in classes]
        return lambda weights: np.mean([ranking.areas(weights)[0] for ranking in rankings], axis=0)
    right = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    if metric == "accuracy":
        return lambda weights: right @ weights / weights.sum(axis=0)
    truth = np.eye(k)[labels][:, present]

    def mean_sensitivity(weights: Floats) -> Floats:
        with np.errstate(invalid="ignore"):
            sensitivity: Floats = ((truth * right[:, None]).T @ weights) / (truth.T @ weights)
        return np.asarray(sensitivity.mean(axis=0))

    return mean_sensitivity


def _checked(labels: ArrayLike, probabilities: ArrayLike, n_classes: int | None = None) -> tuple[Ints, Floats]:
    """Labels (n,) and probabilities (n, k) as arrays, or an InputError."""
    truth, p = np.asarray(labels, dtype=np.intp), np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 2 or truth.shape != p.shape[:1] or p.shape[1] < 2 or len(p) == 0:
        raise InputError(
            f"{truth.shape} labels and {p.shape} probabilities cannot be measured: (n,) and (n, k) are needed"
        )
    if n_classes is not None and p.shape[1] != n_classes:
        raise InputError(f"probabilities of {p.shape[1]} classes cannot be measured against {n_classes} class names")
    if truth.min() < 0 or truth.max() >= p.shape[1]:
        raise InputError(f"labels must be 0 to {p.shape[1] - 1}, not {truth.min()} to {truth.max()}")
    if not np.isfinite(p).all():
        raise InputError("some probabilities are not finite: the training diverged, try a smaller learning_rate")
    if p.min() < 0 or np.abs(p.sum(axis=1) - 1).max() > 1e-3:
        raise InputError("probabilities must be at least 0 and sum to 1 for each image: pass softmax(logits)")
    return truth, p


def _canonical_order(labels: Ints, groups: ArrayLike | None, *scores: Floats | None) -> Ints:
    """An order of the images that depends on nothing but what is known of them, so that resamples do not either."""
    columns = [column for part in scores if part is not None for column in part.T]
    of_group = [] if groups is None else [np.unique(np.asarray(groups), return_inverse=True)[1].reshape(-1)]
    if of_group and of_group[0].shape != labels.shape:
        raise InputError(f"{len(of_group[0])} groups do not fit {len(labels)} images")
    return np.lexsort([*columns, *of_group, labels])


def _positive_class(class_names: list[str], point: OperatingPoint | None) -> int:
    if point is None:
        return 1
    if len(class_names) != 2 or point.positive_class not in class_names:
        raise InputError(f"an operating point for {point.positive_class!r} does not fit the classes {class_names}")
    return class_names.index(point.positive_class)


def _predicted(probabilities: Floats, positive: int, point: OperatingPoint | None) -> Ints:
    if point is None:
        return probabilities.argmax(axis=1)
    return np.where(probabilities[:, positive] >= point.threshold, positive, 1 - positive)


def _estimate(found: tuple[float, Interval]) -> Estimate:
    value, low, high = (None if np.isnan(x) else float(x) for x in (found[0], *found[1]))
    return Estimate(value=value, low=low, high=high)


def _class_metrics(name: str, c: int, labels: Ints, found: Uncertainty) -> ClassMetrics:
    figures = {figure: _estimate(found.of_class(figure, c)) for figure in CLASS_FIGURES}
    return ClassMetrics(name=name, n=int((labels == c).sum()), **figures)


def _measured(point: OperatingPoint | None, positive: ClassMetrics) -> OperatingPoint | None:
    if point is None:
        return None
    return point.model_copy(update={"sensitivity": positive.sensitivity, "specificity": positive.specificity})


def _confusion(labels: Ints, predicted: Ints, k: int) -> list[list[int]]:
    counts: list[list[int]] = np.bincount(labels * k + predicted, minlength=k * k).reshape(k, k).tolist()
    return counts


def _reliability(labels: Ints, probabilities: Floats) -> list[ReliabilityBin]:
    in_bin, confidence = calibration_bins(probabilities), probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    bins = []
    for b in range(CALIBRATION_BINS):
        here = in_bin == b
        bins.append(
            ReliabilityBin(
                low=b / CALIBRATION_BINS,
                high=(b + 1) / CALIBRATION_BINS,
                n=int(here.sum()),
                confidence=float(confidence[here].mean()) if here.any() else None,
                accuracy=float(right[here].mean()) if here.any() else None,
            )
        )
    return bins
