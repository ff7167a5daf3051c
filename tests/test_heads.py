"""How is a classifier fitted on stored features?"""

from typing import Any

import keras
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from tiny import candidate, random_head

from diascope.calibration import softmax
from diascope.heads import (
    RIDGE_SCALE,
    WEIGHT_DECAYS,
    BlockScaling,
    Head,
    Standardiser,
    blend,
    class_weights,
    fit_logistic,
    fit_ridge,
)
from diascope.metrics import log_loss


def problem(n: int, d: int, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features on many scales, of classes that overlap and are not equally frequent."""
    rng = np.random.default_rng(seed)
    shares = np.arange(1, k + 1) / np.arange(1, k + 1).sum()
    y = np.concatenate([np.arange(k), rng.choice(k, n - k, p=shares)])
    centres = rng.normal(size=(k, d))
    x = centres[y] * 0.8 + rng.normal(size=(n, d))
    return (x * np.exp(rng.normal(size=d)) + rng.normal(size=d) * 5).astype(np.float32), y


def scaled(x: np.ndarray, widths: list[int]) -> np.ndarray:
    """What the penalty sees: standardised features whose blocks have the same length, in a mean square of 1."""
    z = (x - x.mean(axis=0, dtype=np.float64)) / x.std(axis=0, dtype=np.float64)
    parts = np.split(z, np.cumsum(widths)[:-1], axis=1)
    return np.hstack([part / np.linalg.norm(part, axis=1, keepdims=True) for part in parts]) / np.sqrt(len(widths))


SHAPES = [(150, 12, 3, [12]), (150, 12, 2, [5, 7]), (40, 90, 3, [30, 40, 20]), (30, 64, 2, [64])]


@pytest.mark.parametrize("weights", ["balanced", "none"])
@pytest.mark.parametrize(("n", "d", "k", "widths"), SHAPES)
def test_logistic_regression_is_that_of_scikit_learn(n: int, d: int, k: int, widths: list[int], weights: str) -> None:
    x, y = problem(n, d, k)
    decays = [1e-3, 1e-1, 1e-2, 1e-4]
    config = candidate(class_weights=weights)
    heads = fit_logistic(x, y, k, decays, config, widths)
    z, weight = scaled(x, widths), class_weights(y, k, config)[y]
    for decay, head in zip(decays, heads, strict=True):
        # scikit-learn has one weight vector for two classes, where the difference of two costs half as much.
        strength = (2 if k == 2 else 1) / (decay * weight.sum())
        known = LogisticRegression(C=strength, max_iter=20_000, tol=1e-8).fit(z, y, sample_weight=weight)
        np.testing.assert_allclose(softmax(head.logits(x)), known.predict_proba(z), atol=1e-3)


@pytest.mark.parametrize(("n", "d", "k", "widths"), SHAPES)
def test_weak_penalties_are_minimised_as_well_as_by_scikit_learn(n: int, d: int, k: int, widths: list[int]) -> None:
    x, y = problem(n, d, k)
    z = scaled(x, widths)
    for decay, head in zip(WEIGHT_DECAYS, fit_logistic(x, y, k, WEIGHT_DECAYS, candidate(), widths), strict=True):
        known = LogisticRegression(C=(2 if k == 2 else 1) / (decay * n), max_iter=20_000, tol=1e-8).fit(z, y)
        loss = (
            log_loss(y, softmax(head.logits(x))) + decay / 2 * ((head.layers[0][0] * np.sqrt(len(widths))) ** 2).sum()
        )
        norm = (known.coef_**2).sum() / (2 if k == 2 else 1)
        assert loss <= log_loss(y, known.predict_proba(z)) + decay / 2 * norm + 2e-3


@pytest.mark.parametrize("weights", ["balanced", "none"])
@pytest.mark.parametrize(("n", "d", "k", "widths"), SHAPES)
def test_ridge_regression_is_that_of_scikit_learn(n: int, d: int, k: int, widths: list[int], weights: str) -> None:
    x, y = problem(n, d, k)
    config = candidate(class_weights=weights)
    decays = [1e-4, 1e-1, 1e-2]
    z, weight = scaled(x, widths), class_weights(y, k, config)[y]
    for decay, head in zip(decays, fit_ridge(x, y, k, decays, config, widths), strict=True):
        known = Ridge(alpha=decay * weight.sum()).fit(z, RIDGE_SCALE * np.eye(k)[y], sample_weight=weight)
        np.testing.assert_allclose(head.logits(x), known.predict(z), atol=2e-3)


def test_a_blend_is_the_mean_of_logits_as_confident_as_the_first() -> None:
    x, y = problem(80, 10, 3)
    (logistic,), (ridge,) = (fit(x, y, 3, [1e-2], candidate(), [4, 6]) for fit in (fit_logistic, fit_ridge))
    mixed = blend([logistic, ridge], [0.7, 3.0])
    expected = (logistic.logits(x) + ridge.logits(x) * 0.7 / 3.0) / 2
    np.testing.assert_allclose(mixed.logits(x), expected, atol=1e-4)
    np.testing.assert_allclose(blend([ridge], [2.0]).logits(x), ridge.logits(x), atol=1e-5)


def test_the_units_and_offsets_of_features_do_not_matter() -> None:
    x, y = problem(60, 8, 2)
    other = (x * 100 + 20).astype(np.float32)
    for fit in (fit_logistic, fit_ridge):
        (one,), (two,) = fit(x, y, 2, [1e-2], candidate()), fit(other, y, 2, [1e-2], candidate())
        np.testing.assert_allclose(one.logits(x), two.logits(other), atol=2e-3)


def test_a_constant_feature_changes_nothing_and_may_be_another_constant_later() -> None:
    x, y = problem(60, 8, 2)
    constant = np.hstack([x, np.full((60, 1), 3.7, np.float32)])
    later = np.hstack([x, np.full((60, 1), -99, np.float32)])
    for fit in (fit_logistic, fit_ridge):
        (without,), (with_one,) = fit(x, y, 2, [1e-2], candidate()), fit(constant, y, 2, [1e-2], candidate())
        np.testing.assert_allclose(with_one.logits(later), without.logits(x), atol=1e-4)


@pytest.mark.parametrize("fit", [fit_logistic, fit_ridge])
def test_without_a_penalty_constant_features_do_no_harm(fit: Any) -> None:
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(80, 6)).astype(np.float32), rng.integers(0, 2, 80)
    padded = np.concatenate([x, np.zeros((80, 5), np.float32)], axis=1)
    config = candidate(epochs=50)
    alone, beside = (fit(each, labels, 2, [0.0], config)[0].logits(each) for each in (x, padded))
    np.testing.assert_allclose(beside, alone, atol=1e-3)


def test_features_that_say_nothing_give_the_shares_of_the_classes() -> None:
    y = np.array([0] * 30 + [1] * 10)
    (head,) = fit_logistic(np.full((40, 5), 2.0, np.float32), y, 2, [1e-2], candidate(class_weights="none"))
    np.testing.assert_allclose(softmax(head.logits(np.full((1, 5), 2.0))), [[0.75, 0.25]], atol=1e-3)


def test_one_outlier_is_cut() -> None:
    x, y = problem(100, 6, 2)
    (head,) = fit_logistic(x, y, 2, [1e-3], candidate())
    far = x[:1] + x.std(axis=0) * np.array([1e3, 0, 0, 0, 0, 0])
    farther = x[:1] + x.std(axis=0) * np.array([1e6, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(head.logits(far), head.logits(farther), atol=1e-4)


def test_balanced_weights_give_each_class_the_same_total() -> None:
    y = np.array([0] * 6 + [1] * 3 + [2])
    weights = class_weights(y, 3, candidate(class_weights="balanced"))
    np.testing.assert_allclose(weights * [6, 3, 1], 10 / 3)
    assert class_weights(y, 3, candidate(class_weights="none")).tolist() == [1, 1, 1]


def test_standardised_features_have_mean_0_and_deviation_1_and_constants_are_0() -> None:
    x = np.random.default_rng(0).normal(5, [1, 100, 1e-3], (500, 3))
    x = np.hstack([x, np.full((500, 1), 8.0)])
    z = Standardiser.of(x)(x)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(z.std(axis=0), [1, 1, 1, 0], atol=1e-9)


def test_a_layer_on_standardised_features_is_one_on_raw_features() -> None:
    x = np.random.default_rng(0).normal(5, 2, (20, 4))
    x[:, 2] = 1
    standardise = Standardiser.of(x)
    weights, bias = random_head(4, 3).layers[0]
    raw, shift = standardise.fold_into(weights, bias)
    np.testing.assert_allclose(x @ raw + shift, standardise(x) @ weights + bias, atol=1e-5)


def test_every_block_has_length_1_and_one_of_zeros_stays() -> None:
    x = np.random.default_rng(0).normal(5, 2, (20, 9)).astype(np.float32)
    x[:, 3:5] = 1
    scaling = BlockScaling.of(x, [3, 2, 4])
    assert scaling.bounds == [(0, 3), (3, 5), (5, 9)]
    z = scaling(x)
    np.testing.assert_allclose([np.linalg.norm(z[:, a:b], axis=1).mean() for a, b in scaling.bounds], [1, 0, 1])
    np.testing.assert_allclose(np.linalg.norm(z[:, :3], axis=1), 1)


@pytest.mark.parametrize("widths", [[9], [3, 2, 4]])
@pytest.mark.parametrize("hidden", [0, 6])
def test_keras_and_numpy_agree(widths: list[int], hidden: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(5, np.exp(rng.normal(size=9)), (30, 9)).astype(np.float32)
    x[:, 4] = 2
    plain = random_head(9, 3, hidden=hidden)
    unseen = np.vstack([x, x[:3] * 50]).astype(np.float32)
    for head in (plain, Head(plain.layers, BlockScaling.of(x, widths))):
        features = keras.Input((9,))
        model = keras.Model(features, head.attach(features))
        np.testing.assert_allclose(model(unseen), head.logits(unseen), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("hidden", [0, 6])
def test_the_temperature_divides_the_logits(hidden: int) -> None:
    x = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
    head = Head(random_head(4, 3, hidden=hidden).layers, BlockScaling.of(x, [4]))
    np.testing.assert_allclose(head.scaled(2.5).logits(x) * 2.5, head.logits(x), atol=1e-5)


def test_a_hidden_layer_is_rectified() -> None:
    hidden = np.array([[1.0, -1.0]]), np.array([0.0, 0.5])
    head = Head([hidden, (np.array([[1.0], [10.0]]), np.array([0.25]))])
    np.testing.assert_allclose(head.logits(np.array([[2.0], [-2.0]])), [[2.25], [25.25]])
