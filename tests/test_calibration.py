"""Softmax against scipy, and temperatures that are known because the logits were made with them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from sklearn.metrics import log_loss

from diascope.calibration import HIGHEST_TEMPERATURE, LOWEST_TEMPERATURE, fit_temperature, softmax
from diascope.errors import InputError


def calibrated(n: int = 20_000, k: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax is the true probability of each class, and labels drawn from it."""
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=1.5, size=(n, k))
    labels = (rng.random((n, 1)) > softmax(logits).cumsum(axis=1)).sum(axis=1)
    return logits, labels


@pytest.mark.parametrize("temperature", [0.5, 1, 3])
def test_softmax_equals_scipys(temperature: float) -> None:
    logits = np.random.default_rng(0).normal(size=(20, 4))
    np.testing.assert_allclose(softmax(logits, temperature), special.softmax(logits / temperature, axis=1))


def test_softmax_of_huge_logits_is_finite() -> None:
    p = softmax([[1e4, 0, -1e4], [-1e4, -1e4, -1e4]])
    np.testing.assert_allclose(p, [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3]])


@pytest.mark.parametrize("temperature", [0.25, 1.0, 2.0, 8.0])
def test_a_known_temperature_is_found(temperature: float) -> None:
    logits, labels = calibrated()
    assert fit_temperature(logits * temperature, labels) == pytest.approx(temperature, rel=0.05)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.2, 5))
def test_no_other_temperature_has_a_lower_log_loss(seed: int, factor: float) -> None:
    rng = np.random.default_rng(seed)
    labels = np.arange(60) % 3
    logits = rng.normal(size=(60, 3)) * factor
    logits[np.arange(60), labels] += factor
    found = fit_temperature(logits, labels)
    best = log_loss(labels, softmax(logits, found))
    for other in np.geomspace(LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE, 40):
        assert best <= log_loss(labels, softmax(logits, other)) + 1e-9


def test_logits_of_no_use_get_the_highest_temperature() -> None:
    labels = np.arange(300) % 3
    assert fit_temperature(np.eye(3)[(labels + 1) % 3] * 5, labels) == pytest.approx(HIGHEST_TEMPERATURE, rel=1e-3)


@pytest.mark.parametrize("n", [30, 300])
def test_separated_classes_are_not_promised_with_certainty(n: int) -> None:
    labels = np.arange(n) % 3
    p = softmax(np.eye(3)[labels] * 4, fit_temperature(np.eye(3)[labels] * 4, labels))
    of_class = n / 3
    assert p.max() == pytest.approx(1 - 1 / (of_class + 2), abs=1e-4)  # Platt's target


def test_separated_classes_of_any_scale_stay_within_the_bounds() -> None:
    labels = np.arange(12) % 2
    for scale in (1e-9, 1e-3, 1, 1e3, 1e9):
        assert LOWEST_TEMPERATURE <= fit_temperature(np.eye(2)[labels] * scale, labels) <= HIGHEST_TEMPERATURE


def test_the_order_of_images_and_a_shift_of_the_logits_do_not_matter() -> None:
    logits, labels = calibrated(500)
    order = np.random.default_rng(1).permutation(500)
    shifts = np.random.default_rng(2).normal(size=(500, 1)) * 100
    assert fit_temperature((logits + shifts)[order], labels[order]) == pytest.approx(fit_temperature(logits, labels))


@pytest.mark.parametrize("logits", [np.empty((0, 2)), [[np.nan, 1.0]], [[np.inf, 1.0]], [1.0], [[0.0, 1.0]] * 2])
def test_unusable_logits_are_refused(logits: np.ndarray) -> None:
    with pytest.raises(InputError, match="finite logits"):
        fit_temperature(logits, [0])
