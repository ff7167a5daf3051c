"""Closed-form intervals against scipy, the literature and their own equations."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binomtest, norm

from diascope import intervals


@pytest.mark.parametrize(("successes", "n"), [(0, 8), (8, 8), (1, 30), (15, 30), (81, 263)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_wilson_equals_scipy(successes: int, n: int, confidence: float) -> None:
    expected = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    assert intervals.wilson(successes / n, n, confidence) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_of_newcombes_first_example() -> None:
    # 81 of 263: 0.2553 to 0.3662 in table I of Newcombe, Statistics in Medicine 1998, method 3.
    assert intervals.wilson(81 / 263, 263, 0.95) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_auroc_variance_of_equal_sizes_is_hanley_and_mcneils() -> None:
    area, n = 0.893, 50
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    expected = (area * (1 - area) + (n - 1) * (q1 - area**2) + (n - 1) * (q2 - area**2)) / n**2
    assert intervals.auroc_variance(area, n, n) == pytest.approx(expected)
    # The standard error that Hanley and McNeil give for 58 normal and 51 abnormal images, area 0.893.
    assert np.sqrt(intervals.auroc_variance(0.893, 51, 58)) == pytest.approx(0.032, abs=1e-3)


@pytest.mark.parametrize(
    ("area", "positives", "negatives"), [(0.5, 10, 40), (0.85, 51, 58), (0.99, 20, 20), (1, 15, 60)]
)
def test_auroc_limits_solve_their_equation(area: float, positives: int, negatives: int) -> None:
    z = norm.ppf(0.975)

    def equation(candidate: float) -> float:
        return (candidate - area) ** 2 - z**2 * intervals.auroc_variance(candidate, positives, negatives)

    low, high = intervals.auroc_score_interval(area, positives, negatives, 0.95)
    assert low == pytest.approx(brentq(equation, 0, area - 1e-9), abs=1e-6)
    assert high == pytest.approx(1 if area == 1 else brentq(equation, area + 1e-9, 1), abs=1e-6)
    assert low < area <= high <= 1


def test_auroc_of_nothing_has_an_upper_limit() -> None:
    low, high = intervals.auroc_score_interval(0, 20, 20, 0.95)
    assert low == pytest.approx(0)
    assert (low, high) == pytest.approx(tuple(1 - x for x in reversed(intervals.auroc_score_interval(1, 20, 20, 0.95))))


def test_percentile_leaves_undefined_resamples_out_until_they_are_too_many() -> None:
    replicates = np.arange(1001) / 1000
    assert intervals.percentile(replicates, 0.95) == pytest.approx((0.025, 0.975))
    assert intervals.percentile(np.append(replicates, [np.nan] * 40), 0.95) == pytest.approx((0.025, 0.975))
    assert np.isnan(intervals.percentile(np.append(replicates, [np.nan] * 100), 0.95)).all()


def test_logit_interval_stays_below_one_and_is_symmetric_in_its_scale() -> None:
    replicates = np.random.default_rng(0).normal(0.98, 0.02, 5000)
    low, high = intervals.logit(0.98, replicates, 0.95)
    odds = [np.log(x / (1 - x)) for x in (low, 0.98, high)]
    assert high < 1
    assert odds[1] - odds[0] == pytest.approx(odds[2] - odds[1])
    assert odds[2] - odds[1] == pytest.approx(1.96 * 0.02 / (0.98 * 0.02), rel=0.05)


def test_mean_of_independent_and_of_dependent_estimates() -> None:
    values, low, high = np.array([0.8, 0.6]), np.array([0.5, 0.2]), np.array([0.9, 0.9])
    independent = intervals.mean_interval(values, low, high, np.eye(2))
    assert independent == pytest.approx((0.7 - 0.25, 0.7 + np.hypot(0.1, 0.3) / 2))
    assert intervals.mean_interval(values, low, high, np.ones((2, 2))) == pytest.approx((0.35, 0.9))


def test_f1_interval_is_monotone_and_not_certain_at_one() -> None:
    low, high = intervals.f1_score_interval(1.0, 20, 0.95)
    jaccard = binomtest(20, 20).proportion_ci(0.95, method="wilson").low
    assert (low, high) == pytest.approx((2 * jaccard / (1 + jaccard), 1))
    assert intervals.f1_score_interval(0.9, 20, 0.95)[0] < low


def test_hull_contains_both_and_is_undefined_with_either() -> None:
    assert intervals.hull((0.2, 0.5), (0.3, 0.6)) == (0.2, 0.6)
    assert np.isnan(intervals.hull(intervals.NOWHERE, (0.3, 0.6))).all()
