"""How often does the classifier answer, and how good are the answers that it gives?"""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from diascope.answers import Abstention, Familiarity
from diascope.decisions import measure_decisions
from diascope.metrics import OperatingPoint
from diascope.results import Decisions

KNOWN = Familiarity(method="a distance", threshold=6.0, percentile=99, n=500)
BAND = Abstention(low=0, high=0.7, share=0.1)


def drawn(n: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels (n,), probabilities (n, 3) that are right as often as they say, distances (n,)."""
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(3, 0.4), n)
    labels = np.array([rng.choice(3, p=p) for p in probabilities])
    return labels, probabilities, rng.uniform(0.2, 1.05, n)


def decided(**options: object) -> Decisions:
    labels, probabilities, distances = drawn()
    given = {"operating_point": None, "familiarity": KNOWN, "abstention": BAND, "resamples": 200}
    return measure_decisions(labels, probabilities, distances, ["a", "b", "c"], **{**given, **options})


def test_every_image_is_counted_once_and_foreign_ones_first() -> None:
    _, probabilities, distances = drawn()
    found, largest = decided(), probabilities.max(axis=1)
    assert found.n_out_of_distribution == (distances > 1).sum()
    assert found.n_uncertain == ((distances <= 1) & (largest < 0.7)).sum()
    assert found.n_ok == 400 - found.n_uncertain - found.n_out_of_distribution
    assert [found.ok.value, found.uncertain.value, found.out_of_distribution.value] == [
        n / 400 for n in (found.n_ok, found.n_uncertain, found.n_out_of_distribution)
    ]


def test_accuracy_and_auroc_are_those_of_the_answered_images() -> None:
    labels, probabilities, distances = drawn()
    found = decided()
    answered = (distances <= 1) & (probabilities.max(axis=1) >= 0.7)
    right = probabilities.argmax(axis=1) == labels
    assert found.accuracy.value == pytest.approx(right[answered].mean())
    expected = roc_auc_score(labels[answered], probabilities[answered], multi_class="ovr")
    assert found.auroc.value == pytest.approx(expected)
    undecided = (distances <= 1) & ~answered
    assert found.accuracy_of_uncertain.value == pytest.approx(right[undecided].mean())
    assert found.accuracy.low is not None
    assert found.accuracy.low < found.accuracy.value


def test_the_interval_of_a_share_contains_wilsons() -> None:
    found = decided().out_of_distribution
    wilson = binomtest(round(400 * found.value), 400).proportion_ci(method="wilson")
    assert found.low <= wilson.low + 1e-9
    assert found.high >= wilson.high - 1e-9
    assert found.high - found.low < 1.4 * (wilson.high - wilson.low)


def test_patients_make_the_interval_wider() -> None:
    labels, probabilities, _ = drawn()
    patients = np.arange(400) // 20
    by_patient = np.where(patients % 4 == 0, 1.5, 0.5)
    given = {"operating_point": None, "familiarity": KNOWN, "abstention": None, "resamples": 300}
    alone = measure_decisions(labels, probabilities, by_patient, ["a", "b", "c"], **given).out_of_distribution
    together = measure_decisions(labels, probabilities, by_patient, ["a", "b", "c"], groups=patients, **given)
    shared = together.out_of_distribution
    assert alone.value == shared.value == 0.25
    assert shared.high - shared.low > 2.5 * (alone.high - alone.low)


def test_no_false_alarm_is_not_certainty() -> None:
    labels, probabilities, _ = drawn()
    given = {"operating_point": None, "familiarity": KNOWN, "abstention": None, "resamples": 100}
    none = measure_decisions(labels, probabilities, np.zeros(400), ["a", "b", "c"], **given).out_of_distribution
    assert none.value == 0
    assert none.high == pytest.approx(binomtest(0, 400).proportion_ci(method="wilson").high, rel=1e-3)


def test_a_classifier_that_stores_neither_always_answers() -> None:
    found = decided(familiarity=None, abstention=None)
    labels, probabilities, _ = drawn()
    plain = measure_decisions(
        labels,
        probabilities,
        None,
        ["a", "b", "c"],
        operating_point=None,
        familiarity=None,
        abstention=None,
        resamples=100,
    )
    assert found.n_out_of_distribution > 0
    assert (plain.n_ok, plain.n_uncertain, plain.n_out_of_distribution) == (400, 0, 0)
    assert plain.accuracy_of_uncertain.value is None
    assert plain.accuracy.value == (probabilities.argmax(axis=1) == labels).mean()


def test_nothing_answered_is_nothing_measured() -> None:
    labels, probabilities, _ = drawn()
    given = {"operating_point": None, "familiarity": KNOWN, "abstention": None, "resamples": 100}
    none = measure_decisions(labels, probabilities, np.full(400, 2.0), ["a", "b", "c"], **given)
    assert none.n_ok == 0
    assert none.accuracy.value is None
    assert none.auroc.value is None


def test_two_classes_go_by_the_operating_point() -> None:
    rng = np.random.default_rng(1)
    yes = rng.uniform(size=300)
    labels, point = (rng.uniform(size=300) < yes).astype(int), 0.2
    found = measure_decisions(
        labels,
        np.stack([1 - yes, yes], axis=1),
        np.zeros(300),
        ["no", "yes"],
        operating_point=OperatingPoint(positive_class="yes", threshold=point, target_sensitivity=0.9),
        familiarity=KNOWN,
        abstention=Abstention(low=0.1, high=0.35, share=0.1),
        resamples=100,
    )
    undecided = (yes > 0.1) & (yes < 0.35)
    assert found.n_uncertain == undecided.sum()
    assert found.accuracy.value == pytest.approx(((yes >= point) == labels)[~undecided].mean())


@pytest.mark.parametrize("n_near", [0, 1, 5, 20])
def test_no_interval_of_a_share_leaves_0_to_1(n_near: int) -> None:
    labels, probabilities, distances = np.arange(20) % 3, np.full((20, 3), 1 / 3), np.full(20, 2.0)
    distances[:n_near] = 0.5
    found = decided_on(labels, probabilities, distances)
    assert found.n_ok == n_near
    for share in (found.ok, found.uncertain, found.out_of_distribution):
        assert 0 <= share.low <= share.value <= share.high <= 1


@pytest.mark.parametrize(("n", "true", "by"), [(45, 0.05, 1), (150, 0.2, 1), (180, 0.1, 6)])
def test_intervals_of_shares_cover_the_truth_by_image_and_by_group(n: int, true: float, by: int) -> None:
    """200 studies; images of a group are foreign together half of the time."""
    rng, covered = np.random.default_rng(0), 0
    for _ in range(200):
        groups = np.arange(n) // by
        together, alone = rng.random(n)[groups] < true, rng.random(n) < true
        foreign = np.where(rng.random(n)[groups] < 0.5, together, alone)
        labels, flat = groups % 3, np.full((n, 3), 1 / 3)
        found = decided_on(labels, flat, np.where(foreign, 2.0, 0.5), groups if by > 1 else None)
        covered += found.out_of_distribution.low <= true <= found.out_of_distribution.high
    assert covered >= 180


def decided_on(
    labels: np.ndarray, probabilities: np.ndarray, distances: np.ndarray, groups: np.ndarray | None = None
) -> Decisions:
    given = {"operating_point": None, "familiarity": KNOWN, "abstention": None, "groups": groups, "resamples": 100}
    return measure_decisions(labels, probabilities, distances, ["a", "b", "c"], **given)
