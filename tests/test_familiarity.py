"""Is an image like those the classifier was trained on?"""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA

from diascope import familiarity
from diascope.familiarity import DIRECTIONS, MOST_IMAGES, NOISE, Bounds, Reference, distances, familiarise, some_rows


def features(n: int, d: int, seed: int = 0) -> np.ndarray:
    """Correlated features (n, d) with a mean, a few directions of which vary most."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(d, d)) * 0.8 ** np.arange(d)[:, None]
    return (rng.normal(size=(n, d)) @ mixing + 8).astype(np.float32)


def direction(x: np.ndarray) -> np.ndarray:
    """Signed square roots, scaled to length 1."""
    roots = np.copysign(np.abs(x.astype(np.float64)) ** 0.5, x)
    return roots / np.linalg.norm(roots, axis=1, keepdims=True)


def one_unit(x: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Directions, centred, and scaled so that those of `like` have a total variance of 1."""
    x, like = direction(x), direction(like)
    return (x - like.mean(axis=0)) / np.sqrt(like.var(axis=0).sum())


def test_few_features_give_the_mahalanobis_distance_with_noise_on_the_diagonal() -> None:
    fitted, asked = features(400, 9), features(50, 9, seed=1) * np.linspace(1, 3, 9)
    z, other = one_unit(fitted, fitted), one_unit(asked, fitted)
    covariance = np.cov(z.T, bias=True) + NOISE * np.eye(9)
    expected = cdist(other, np.zeros((1, 9)), "mahalanobis", VI=np.linalg.inv(covariance))[:, 0]
    np.testing.assert_allclose(distances(fitted, asked, [(0, 9)]), expected, rtol=1e-4)


@pytest.mark.parametrize("n", [90, 400])
def test_many_features_keep_the_largest_principal_components(n: int) -> None:
    fitted, asked = features(n, 120), features(30, 120, seed=1) + 1
    z, other = one_unit(fitted, fitted), one_unit(asked, fitted)
    found = PCA(min(DIRECTIONS, n // 2)).fit(z)
    kept = found.components_
    variances = found.explained_variance_ * (n - 1) / n
    covariance = kept.T @ np.diag(variances) @ kept + NOISE * np.eye(120)
    expected = cdist(other, np.zeros((1, 120)), "mahalanobis", VI=np.linalg.inv(covariance))[:, 0]
    np.testing.assert_allclose(distances(fitted, asked, [(0, 120)]), expected, rtol=2e-3)


def test_no_block_outvotes_another_by_its_unit_or_its_width() -> None:
    fitted, asked, bounds = features(200, 40), features(20, 40, seed=1), [(0, 30), (30, 40)]
    unit = np.r_[np.full(30, 1.0), np.full(10, 1000.0)]
    np.testing.assert_allclose(
        distances(fitted * unit, asked * unit, bounds), distances(fitted, asked, bounds), rtol=1e-3
    )
    reference = Reference.of(fitted, bounds)
    z = np.concatenate([direction(fitted[:, :30]), direction(fitted[:, 30:])], axis=1) - reference.mean
    z *= reference.scale
    assert z[:, :30].var(axis=0).sum() == pytest.approx(0.5, rel=1e-3)
    assert z[:, 30:].var(axis=0).sum() == pytest.approx(0.5, rel=1e-3)


def test_blocks_outside_the_bounds_do_not_count() -> None:
    fitted, asked = features(200, 40), features(20, 40, seed=1)
    changed = asked.copy()
    changed[:, :10], changed[:, 25:] = -5, 100
    bounds = [(10, 25)]
    np.testing.assert_array_equal(distances(fitted, changed, bounds), distances(fitted, asked, bounds))
    np.testing.assert_array_equal(
        distances(fitted, asked, bounds), distances(fitted[:, 10:25], asked[:, 10:25], [(0, 15)])
    )


def test_contrast_does_not_make_an_image_foreign() -> None:
    fitted, asked = features(200, 40), features(20, 40, seed=1)
    weaker = asked * np.linspace(0.2, 3, 20)[:, None]
    np.testing.assert_allclose(distances(fitted, weaker, [(0, 40)]), distances(fitted, asked, [(0, 40)]), rtol=1e-3)


def test_the_threshold_is_the_percentile_of_distances_to_images_of_other_groups(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, groups = features(150, 20), np.arange(150) // 3
    pairs = []

    def spy(fitted: np.ndarray, held_out: np.ndarray, bounds: Bounds) -> np.ndarray:
        rows = [np.flatnonzero((x[:, None] == side).all(axis=2).any(axis=1)) for side in (fitted, held_out)]
        pairs.append((set(rows[0]), set(rows[1]), distances(fitted, held_out, bounds)))
        return pairs[-1][2]

    monkeypatch.setattr(familiarity, "distances", spy)
    reference, known = familiarise(x, np.zeros(len(x)), groups, [(0, 20)], seed=3)
    assert sorted(row for _, held_out, _ in pairs for row in held_out) == list(range(150))
    assert all(not {groups[i] for i in fitted} & {groups[i] for i in out} for fitted, out, _ in pairs)
    assert known.threshold == pytest.approx(np.percentile(np.concatenate([d for *_, d in pairs]), 99))
    assert (known.n, known.percentile) == (150, 99)
    np.testing.assert_allclose(reference.distance(x), distances(x, x, [(0, 20)]))


def test_twins_in_other_folds_would_flatter_the_threshold() -> None:
    x = np.repeat(features(60, 200), 4, axis=0) + np.random.default_rng(0).normal(0, 0.01, (240, 200))
    together = familiarise(x, np.zeros(len(x)), np.arange(240) // 4, [(0, 200)], seed=0)[1]
    parted = familiarise(x, np.zeros(len(x)), np.arange(240), [(0, 200)], seed=0)[1]
    assert together.threshold > 1.2 * parted.threshold


def test_new_images_of_the_kind_are_near_and_others_far() -> None:
    reference, known = familiarise(
        features(600, 60), np.zeros(len(features(600, 60))), np.arange(600), [(0, 40), (40, 60)], seed=0
    )
    alarms = reference.distance(features(4000, 60, seed=1)) > known.threshold
    assert 0 < alarms.mean() < 0.04
    elsewhere = np.random.default_rng(2).permuted(features(500, 60, seed=2), axis=1)
    assert (reference.distance(elsewhere) > known.threshold).mean() > 0.99
    assert (reference.distance(np.zeros((1, 60))) > known.threshold).all()


def test_the_statistics_of_many_images_are_no_larger_than_those_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    fit = Reference.of.__func__  # type: ignore[attr-defined]

    def spy(cls: type[Reference], x: np.ndarray, bounds: Bounds) -> Reference:
        seen.append(len(x))
        return fit(cls, x, bounds)

    monkeypatch.setattr(Reference, "of", classmethod(spy))
    many = np.broadcast_to(features(1000, 64)[None], (100, 1000, 64)).reshape(-1, 64)
    reference, known = familiarise(many, np.zeros(len(many)), np.arange(len(many)), [(0, 64)], seed=0)
    assert max(seen) == MOST_IMAGES == known.n
    assert reference.directions.shape == (64, DIRECTIONS)
    rows = some_rows(100_000, 0)
    assert len(set(rows)) == MOST_IMAGES
    assert (np.diff(rows) > 0).all()
    assert rows[-1] > 90_000
    assert not np.array_equal(rows, some_rows(100_000, 1))


def test_what_never_varies_does_not_count_and_nothing_is_divided_by_zero() -> None:
    x = features(80, 30)
    x[:, 20:] = 7
    reference, known = familiarise(x, np.zeros(len(x)), np.arange(80), [(0, 20), (20, 30)], seed=0)
    changed = x.copy()
    changed[:, 20:25] = 8
    np.testing.assert_allclose(reference.distance(changed), reference.distance(x))
    assert known.threshold > 1
    same, nothing = familiarise(np.full((40, 5), 3.0), np.zeros(40), np.arange(40), [(0, 5)], seed=0)
    assert nothing.threshold > 0
    assert (same.distance(np.eye(5)) == 0).all()
    dead = np.zeros((40, 5))
    dead[:20] = features(20, 5)
    assert np.isfinite(familiarise(dead, np.zeros(40), np.arange(40), [(0, 5)], seed=0)[0].distance(dead)).all()


def test_a_rare_class_is_held_out_in_parts_not_at_once() -> None:
    """Else the threshold would be that of a class which the statistics have not seen."""
    labels = (np.arange(200) < 20).astype(int)
    x = features(200, 60)
    x[labels == 1] *= np.linspace(1, 4, 60)[None]
    own = familiarise(x, labels, np.arange(200), [(0, 60)], seed=0)[1]
    unseen = distances(x[labels == 0], x[labels == 1], [(0, 60)])
    assert own.threshold < 0.7 * np.median(unseen)


@pytest.mark.parametrize("labels", [np.zeros(30), np.arange(30) // 29], ids=["one class", "a class of one image"])
def test_images_of_one_group_are_dealt_one_by_one(labels: np.ndarray) -> None:
    assert familiarise(features(30, 8), labels, np.zeros(30), [(0, 8)], seed=0)[1].n == 30


@pytest.mark.parametrize(("n", "beyond"), [(12, 1), (100, 1), (102, 2), (183, 2), (577, 6), (2000, 20)])
def test_as_many_held_out_images_are_beyond_the_limit_as_are_told(n: int, beyond: int) -> None:
    held_out = np.random.default_rng(0).gamma(5, size=n)
    known = familiarity.familiarity(held_out)
    assert (held_out > known.threshold).sum() == beyond
    lower, upper = np.sort(held_out)[n - beyond - 1 : n - beyond + 1]
    assert lower <= known.threshold < upper
