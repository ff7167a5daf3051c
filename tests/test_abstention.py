"""When is a probability too undecided to be answered?"""

import numpy as np
import pytest

from diascope.abstention import SURE, choose_abstention
from diascope.answers import deciding_score
from diascope.metrics import OperatingPoint

TWO, FOUR = ["no", "yes"], ["a", "b", "c", "d"]
POINT = OperatingPoint(positive_class="yes", threshold=0.3, target_sensitivity=0.9)


def two(n: int = 500) -> np.ndarray:
    yes = 1 / (1 + np.exp(-np.random.default_rng(0).normal(0, 1.5, n)))
    return np.stack([1 - yes, yes], axis=1)


def four(n: int = 500) -> np.ndarray:
    return np.random.default_rng(0).dirichlet(np.full(4, 0.5), n)


@pytest.mark.parametrize("share", [0.05, 0.1, 0.29])
def test_of_more_classes_the_least_probable_answers_are_left_out(share: float) -> None:
    probabilities = four()
    band = choose_abstention(probabilities, FOUR, None, share)
    assert band is not None
    largest = np.sort(probabilities.max(axis=1))
    assert band.high == largest[round(500 * share)]
    assert band.low == 0
    assert (largest < band.high).mean() == pytest.approx(share) == band.share


@pytest.mark.parametrize("share", [0.05, 0.1, 0.29])
def test_of_two_classes_those_nearest_to_the_threshold_in_logits(share: float) -> None:
    probabilities = two()
    band = choose_abstention(probabilities, TWO, POINT, share)
    assert band is not None

    def logit(p: np.ndarray | float) -> np.ndarray:
        return np.log(p / (1 - np.asarray(p)))

    assert logit(0.3) - logit(band.low) == pytest.approx(logit(band.high) - logit(0.3))
    width = logit(band.high) - logit(0.3)
    distance = np.sort(np.abs(logit(probabilities[:, 1]) - logit(0.3)))
    assert width == pytest.approx(distance[round(500 * share)])
    left_out = band.leaves_out(deciding_score(probabilities, TWO, POINT))
    assert left_out.mean() == pytest.approx(share) == band.share
    assert band.low < 0.3 < band.high


def test_the_band_is_about_the_positive_class_whichever_it_is() -> None:
    point = POINT.model_copy(update={"positive_class": "no"})
    mirrored = choose_abstention(two()[:, ::-1], TWO, point, 0.1)
    assert mirrored == choose_abstention(two(), TWO, POINT, 0.1)


@pytest.mark.parametrize("share", [0, 0.001])
def test_a_share_that_is_no_image_leaves_nothing_undecided(share: float) -> None:
    assert choose_abstention(four(), FOUR, None, share) is None


def test_what_is_sure_is_answered_however_sure_the_others_are() -> None:
    sure = np.full((100, 4), 0.002) + 0.992 * np.eye(4)[np.arange(100) % 4]
    band = choose_abstention(sure, FOUR, None, 0.5)
    assert band is not None
    assert (band.high, band.share) == (SURE, 0)
    certain = np.stack([np.arange(100) % 2, 1 - np.arange(100) % 2], axis=1).astype(float)
    apart = choose_abstention(certain, TWO, POINT, 0.5)
    assert apart is not None
    assert apart.share == 0
    odds = apart.high / (1 - apart.high) / (0.3 / 0.7)
    assert odds == pytest.approx(SURE / (1 - SURE))


def test_leaving_out_the_undecided_leaves_fewer_errors() -> None:
    probabilities = four(4000)
    labels = np.array([np.random.default_rng(i).choice(4, p=p) for i, p in enumerate(probabilities)])
    band = choose_abstention(probabilities, FOUR, None, 0.2)
    assert band is not None
    undecided = band.leaves_out(deciding_score(probabilities, FOUR, None))
    right = probabilities.argmax(axis=1) == labels
    assert right[~undecided].mean() > right.mean() + 0.03
    assert right[undecided].mean() < 0.6


def test_rounding_never_leaves_out_more_than_the_share() -> None:
    """A limit that is one image's own probability must not come back from logits a little beyond it."""
    for seed in range(200):
        rng = np.random.default_rng(seed)
        n, threshold = int(rng.integers(10, 90)), float(rng.uniform(0.05, 0.95))
        yes = 1 / (1 + np.exp(-rng.normal(0, 2, n)))
        point = POINT.model_copy(update={"threshold": threshold})
        band = choose_abstention(np.stack([1 - yes, yes], axis=1), TWO, point, 0.2)
        assert band is not None
        assert band.leaves_out(yes).sum() <= int(0.2 * n)
        assert band.leaves_out(yes).sum() == round(n * band.share)


@pytest.mark.parametrize("threshold", [0.0, 1e-9, 1.0])
def test_a_threshold_at_the_end_leaves_a_narrow_band_there(threshold: float) -> None:
    point = POINT.model_copy(update={"threshold": threshold})
    yes = np.linspace(0, 1, 101)
    band = choose_abstention(np.stack([1 - yes, yes], axis=1), TWO, point, 0.3)
    assert band is not None
    assert 0 <= band.low <= band.high <= 1
    assert band.share == 0
    assert abs(band.low - threshold) < 1e-6
    assert abs(band.high - threshold) < 1e-6
