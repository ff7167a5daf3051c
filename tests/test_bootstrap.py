"""Weighted figures against scikit-learn's sample weights, and what resamples must have in common."""

import numpy as np
import pytest
from sklearn import metrics as reference

from diascope.bootstrap import Figures, Ranking, resampled_weights, sampling_units


def weighted(n: int = 120, k: int = 3, decimals: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    labels, p = rng.integers(0, k, n), rng.dirichlet(np.ones(k), size=n).round(decimals)
    p[:, -1] = 1 - p[:, :-1].sum(axis=1)
    return labels, p, rng.integers(0, 4, size=(n, 5)).astype(float)


@pytest.mark.parametrize("decimals", [1, 9])
def test_weighted_figures_equal_those_of_scikit_learn(decimals: int) -> None:
    labels, p, weights = weighted(decimals=decimals)
    predicted = p.argmax(axis=1)
    found = Figures(labels, p, predicted)(weights)
    for column, w in enumerate(weights.T):
        precision, recall, f1, _ = reference.precision_recall_fscore_support(labels, predicted, sample_weight=w)
        for c in range(3):
            truth = labels == c
            expected = {
                "auroc": reference.roc_auc_score(truth, p[:, c], sample_weight=w),
                "auprc": reference.average_precision_score(truth, p[:, c], sample_weight=w),
                "sensitivity": recall[c],
                "specificity": reference.recall_score(~truth, predicted != c, sample_weight=w),
                "precision": precision[c],
                "f1": f1[c],
            }
            for name, value in expected.items():
                assert found[f"class_{name}"][c, column] == pytest.approx(value, abs=1e-12), name
        assert found["accuracy"][column] == pytest.approx(reference.accuracy_score(labels, predicted, sample_weight=w))
        assert found["log_loss"][column] == pytest.approx(
            reference.log_loss(labels, p.clip(1e-16), sample_weight=w), rel=1e-6
        )


def test_weights_are_repetitions() -> None:
    labels, p, weights = weighted()
    times = weights[:, 0].astype(int)
    repeated = Figures(labels.repeat(times), p.repeat(times, axis=0), p.argmax(axis=1).repeat(times))
    once, again = Figures(labels, p, p.argmax(axis=1))(weights[:, :1]), repeated(np.ones((times.sum(), 1)))
    for name, value in once.items():
        np.testing.assert_allclose(value, again[name], atol=1e-12, err_msg=name)


def test_ranking_without_one_of_the_sides_has_no_areas() -> None:
    scores = np.array([0.1, 0.4, 0.8])
    for positive in (np.zeros(3, dtype=bool), np.ones(3, dtype=bool)):
        assert np.isnan(Ranking(positive, scores).areas(np.ones((3, 2)))).all()
    unweighted = Ranking(np.array([True, False, False]), scores).areas(np.array([[0.0], [1.0], [1.0]]))
    assert np.isnan(unweighted).all()


def test_all_scores_equal_are_a_coin() -> None:
    auroc, auprc = Ranking(np.array([True, False, False, False]), np.full(4, 0.5)).areas(np.ones((4, 1)))
    assert (auroc[0], auprc[0]) == (0.5, 0.25)


def test_resamples_keep_the_weight_of_every_class_and_the_mean() -> None:
    labels = np.repeat([0, 1, 2], [30, 12, 5])
    weights = np.concatenate(list(resampled_weights(sampling_units(labels, None), 4000, seed=0)), axis=1)
    assert weights.shape == (47, 4000)
    for c in range(3):
        np.testing.assert_allclose(weights[labels == c].sum(axis=0), (labels == c).sum())
    np.testing.assert_allclose(weights.mean(axis=1), 1, atol=0.1)


@pytest.mark.parametrize("n", [3, 8, 40])
def test_variance_of_a_resampled_mean_is_the_unbiased_one(n: int) -> None:
    values = np.random.default_rng(1).normal(size=n)
    weights = np.concatenate(
        list(resampled_weights(sampling_units(np.zeros(n, dtype=int), None), 20_000, seed=0)), axis=1
    )
    assert (weights.T @ values / n).var() == pytest.approx(values.var(ddof=1) / n, rel=0.05)


def test_images_of_a_group_are_drawn_together_and_groups_by_their_majority() -> None:
    labels = np.array([0, 0, 1, 1, 1, 0, 1, 1])
    groups = np.array(["p", "p", "p", "q", "q", "r", "s", "s"])
    units = sampling_units(labels, groups)
    assert units.of_image.tolist() == [0, 0, 0, 1, 1, 2, 3, 3]
    assert [members.tolist() for members in units.strata] == [[0, 2], [1, 3]]
    weights = next(resampled_weights(units, 50, seed=0))
    for members in ([0, 1, 2], [3, 4], [6, 7]):
        assert (weights[members] == weights[members[0]]).all()
    assert (weights[0] + weights[5] == 2).all()
    assert len(np.unique(weights[0])) > 1


def test_resamples_depend_on_the_seed_alone() -> None:
    units = sampling_units(np.repeat([0, 1], 20), None)
    first, again, other = (next(resampled_weights(units, 30, seed=seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
