"""Curves against scikit-learn, and thinned without losing their shape."""

import numpy as np
import pytest
from sklearn import metrics as reference

from diascope.curves import pr_curve, roc_curve


def scored(n: int, decimals: int = 2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    labels = rng.random(n) < 0.4
    return labels, (rng.normal(size=n) + labels).round(decimals)


def test_roc_curve_equals_scikit_learns() -> None:
    labels, scores = scored(80, decimals=1)
    expected = reference.roc_curve(labels, scores, drop_intermediate=False)
    for found, wanted in zip(roc_curve(labels, scores), expected, strict=True):
        np.testing.assert_allclose(found, wanted)


def test_pr_curve_equals_scikit_learns() -> None:
    labels, scores = scored(80, decimals=1)
    precision, recall, thresholds = reference.precision_recall_curve(labels, scores)
    found = pr_curve(labels, scores)
    np.testing.assert_allclose(found[0][1:], recall[:-1][::-1])
    np.testing.assert_allclose(found[1][1:], precision[:-1][::-1])
    np.testing.assert_allclose(found[2][1:], thresholds[::-1])
    assert (found[0][0], found[1][0]) == (0, found[1][1])


@pytest.mark.parametrize("n", [5000, 20_000])
def test_thinned_curves_keep_their_ends_and_area(n: int) -> None:
    labels, scores = scored(n, decimals=12)
    false_rate, true_rate, thresholds = roc_curve(labels, scores)
    assert 100 < len(false_rate) <= 200
    assert (false_rate[0], true_rate[0], false_rate[-1], true_rate[-1]) == (0, 0, 1, 1)
    assert (np.diff(thresholds) < 0).all()
    assert np.trapezoid(true_rate, false_rate) == pytest.approx(reference.roc_auc_score(labels, scores), abs=2e-3)
    recall, precision, _ = pr_curve(labels, scores)
    assert 50 < len(recall) <= 200
    assert (recall[0], recall[-1]) == (0, 1)
    area = np.sum(np.diff(recall) * precision[1:])
    assert area == pytest.approx(reference.average_precision_score(labels, scores), abs=0.02)


def test_curves_of_one_class_alone_have_no_rate_of_the_other() -> None:
    false_rate, true_rate, _ = roc_curve([True, True], [0.3, 0.6])
    assert np.isnan(false_rate).all()
    assert true_rate.tolist() == [0, 0.5, 1]
    recall, precision, _ = pr_curve([False, False], [0.3, 0.6])
    assert np.isnan(recall).all()
    assert precision.tolist() == [0, 0, 0]


def test_curves_of_no_image_at_all_do_not_fail() -> None:
    assert [len(part) for part in (*roc_curve([], []), *pr_curve([], []))] == [1] * 6


def test_a_curve_without_any_shape_keeps_its_ends() -> None:
    _, _, thresholds = pr_curve(np.zeros(500, dtype=bool), np.arange(500))
    assert (thresholds[0], thresholds[-1]) == (np.inf, 0)
