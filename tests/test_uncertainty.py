"""Do the intervals hold what they promise? Simulated studies whose truth is known."""

from functools import cache

import numpy as np
import pytest
from scipy.stats import binomtest

from diascope.metrics import Metrics, measure

CHECKED = ("auroc", "auprc", "accuracy", "balanced_accuracy", "sensitivity", "specificity", "f1", "brier", "log_loss")
CLASSES = ["a", "b", "c"]


def study(
    rng: np.random.Generator, per_class: int, *, shift: float = 1.5, images_per_patient: int = 1, alike: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, probabilities and patients; `alike` is the share of an image's variance that its patient explains."""
    patients = np.arange(3 * per_class) // images_per_patient
    labels = np.repeat(np.arange(3), per_class)
    own, of_patient = rng.normal(size=(len(labels), 3)), rng.normal(size=(patients.max() + 1, 3))
    logits = np.sqrt(1 - alike) * own + np.sqrt(alike) * of_patient[patients]
    logits[np.arange(len(labels)), labels] += shift
    powers = np.exp(logits)
    return labels, powers / powers.sum(axis=1, keepdims=True), patients


@cache
def truth(shift: float) -> Metrics:
    labels, p, _ = study(np.random.default_rng(0), 20_000, shift=shift)
    return measure(labels, p, CLASSES, resamples=2)


def coverage(
    per_class: int, studies: int, *, shift: float = 1.5, by_patient: bool = False, **design: float
) -> dict[str, float]:
    """Share of studies whose interval contains the true figure, for each figure."""
    rng, true = np.random.default_rng(1), truth(shift)
    covered = dict.fromkeys(CHECKED, 0)
    for seed in range(studies):
        labels, p, patients = study(rng, per_class, shift=shift, **design)
        found = measure(labels, p, CLASSES, groups=patients if by_patient else None, resamples=150, seed=seed)
        for name in CHECKED:
            interval = getattr(found, name)
            covered[name] += interval.low <= getattr(true, name).value <= interval.high
    return {name: count / studies for name, count in covered.items()}


def test_95_percent_intervals_cover_the_truth_in_about_95_percent_of_studies() -> None:
    for name, share in coverage(40, 150).items():
        assert 0.9 <= share <= 0.995, f"{name} covers in {share:.1%} of studies"


def test_intervals_of_nearly_perfect_figures_cover_as_well() -> None:
    found = coverage(50, 100, shift=3.0)
    for name in ("auroc", "auprc", "accuracy", "balanced_accuracy", "specificity", "f1"):
        assert found[name] >= 0.9, f"{name} covers in {found[name]:.1%} of studies"


def test_intervals_cover_by_patient_and_not_without() -> None:
    design = {"images_per_patient": 6, "alike": 0.7}
    by_patient, by_image = coverage(60, 60, by_patient=True, **design), coverage(60, 60, **design)
    for name in ("auroc", "accuracy", "balanced_accuracy", "log_loss"):
        assert by_patient[name] >= 0.88, f"{name} covers in {by_patient[name]:.1%} of studies"
        assert by_image[name] <= 0.85, f"{name} covers in {by_image[name]:.1%} of studies though patients are ignored"


def perfect(per_class: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.repeat(np.arange(3), per_class)
    sure = np.linspace(0.8, 0.95, len(labels))[:, None]
    return labels, np.where(np.eye(3)[labels] == 1, sure, (1 - sure) / 2)


def test_a_perfect_score_is_not_certain() -> None:
    few, many = (measure(*perfect(n), CLASSES, resamples=100) for n in (10, 100))
    for name in ("auroc", "auprc", "sensitivity", "specificity", "precision", "f1", "accuracy", "balanced_accuracy"):
        small, large = getattr(few, name), getattr(many, name)
        assert (small.value, small.high, large.value, large.high) == (1, 1, 1, 1), name
        assert 0.6 < small.low < 0.95, name
        assert 0.95 < large.low < 0.999, name


@pytest.mark.parametrize("errors", [0, 1, 5, 20])
def test_a_sensitivity_is_never_surer_than_wilsons_interval(errors: int) -> None:
    labels, p = perfect(20)
    p[:errors] = p[:errors, [1, 0, 2]]
    found = measure(labels, p, CLASSES, resamples=200).per_class[0].sensitivity
    expected = binomtest(20 - errors, 20).proportion_ci(0.95, method="wilson")
    assert found.low <= expected.low + 1e-12
    assert found.high >= expected.high - 1e-12
    if errors <= 1:
        assert found.low == pytest.approx(expected.low)


def test_a_perfect_score_counts_patients_not_images() -> None:
    labels, p = perfect(60)
    groups = np.arange(180) // 12  # five patients of each class
    by_patient = measure(labels, p, CLASSES, groups=groups, resamples=100)
    of_five = measure(*perfect(5), CLASSES, resamples=100)
    for name in ("sensitivity", "auroc", "accuracy"):
        assert getattr(by_patient, name).low == pytest.approx(getattr(of_five, name).low), name


def test_the_worst_score_is_not_certain_either() -> None:
    labels, p = perfect(15)
    found = measure((labels + 1) % 3, p, CLASSES, resamples=100)
    assert (found.accuracy.value, found.accuracy.low) == (0, 0)
    assert 0.02 < found.accuracy.high < 0.2
    assert found.auroc.low < found.auroc.value < found.auroc.high


def test_more_errors_never_raise_the_lower_bound_of_a_sensitivity() -> None:
    lows = []
    for errors in range(6):
        labels, p = perfect(25)
        p[:errors] = p[:errors, [1, 0, 2]]
        lows.append(measure(labels, p, CLASSES, resamples=300).per_class[0].sensitivity.low)
    assert lows == sorted(lows, reverse=True)


def test_calibration_error_of_calibrated_probabilities_may_be_nothing() -> None:
    rng = np.random.default_rng(5)
    included, studies = 0, 60
    for seed in range(studies):
        p = rng.dirichlet([1, 1, 1], size=150)
        labels = (rng.random((150, 1)) > p.cumsum(axis=1)).sum(axis=1)
        included += measure(labels, p, CLASSES, resamples=100, seed=seed).ece.low < 0.005
    assert included / studies >= 0.9


def test_calibration_error_of_overconfident_probabilities_is_shown() -> None:
    labels, p, _ = study(np.random.default_rng(3), 100, shift=0.5)
    sharp = p**6 / (p**6).sum(axis=1, keepdims=True)
    found = measure(labels, sharp, CLASSES, resamples=200).ece
    assert 0.1 < found.low < found.value < found.high
