"""Every figure against scikit-learn, and what must not matter to it."""

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from diascope.errors import InputError
from diascope.metrics import (
    Metrics,
    OperatingPoint,
    balanced_accuracy,
    choose_threshold,
    log_loss,
    macro_auroc,
    measure,
    paired_bootstrap,
)

CLASS_FIGURES = ("auroc", "auprc", "sensitivity", "specificity", "precision", "f1")
WHOLE_FIGURES = (*CLASS_FIGURES, "accuracy", "balanced_accuracy", "brier", "log_loss", "ece")


def predictions(
    n: int, k: int, *, seed: int = 0, shift: float = 1.5, decimals: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n,) of every class and probabilities (n, k); few decimals make ties."""
    labels = np.concatenate([np.arange(k), np.random.default_rng(seed).integers(0, k, n - k)])
    return labels, answers(labels, k, seed=seed, shift=shift, decimals=decimals)


def answers(
    labels: np.ndarray, k: int, *, seed: int = 0, shift: float = 1.5, decimals: int | None = None
) -> np.ndarray:
    """Probabilities (n, k) that a model of some skill gives images of these labels."""
    logits = np.random.default_rng([seed, 1]).normal(size=(len(labels), k))
    logits[np.arange(len(labels)), labels] += shift
    powers = np.exp(logits if decimals is None else logits.round(decimals))
    return powers / powers.sum(axis=1, keepdims=True)


def names(k: int) -> list[str]:
    return [f"class {c}" for c in range(k)]


def figures(metrics: Metrics) -> dict[str, float | None]:
    return {name: getattr(metrics, name).value for name in WHOLE_FIGURES}


def point(threshold: float, positive: str = "class 1") -> OperatingPoint:
    return OperatingPoint(positive_class=positive, threshold=threshold, target_sensitivity=0.9)


def calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    top, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    total = 0.0
    for b in range(10):
        here = (top > b / 10) & (top <= (b + 1) / 10)
        if here.any():
            total += here.mean() * abs(top[here].mean() - right[here].mean())
    return total


@pytest.mark.parametrize("decimals", [None, 0])
@pytest.mark.parametrize("k", [3, 4, 7])
def test_figures_of_several_classes_equal_those_of_scikit_learn(k: int, decimals: int | None) -> None:
    labels, p = predictions(301, k, decimals=decimals)
    metrics = measure(labels, p, names(k), resamples=100)
    predicted, one_hot = p.argmax(axis=1), np.eye(k)[labels]
    precision, recall, f1, _ = reference.precision_recall_fscore_support(labels, predicted, average="macro")
    expected = {
        "auroc": reference.roc_auc_score(labels, p, multi_class="ovr", average="macro"),
        "auprc": np.mean([reference.average_precision_score(one_hot[:, c], p[:, c]) for c in range(k)]),
        "sensitivity": recall,
        "specificity": np.mean([reference.recall_score(labels != c, predicted != c) for c in range(k)]),
        "precision": precision,
        "f1": f1,
        "accuracy": reference.accuracy_score(labels, predicted),
        "balanced_accuracy": reference.balanced_accuracy_score(labels, predicted),
        "brier": ((p - one_hot) ** 2).sum(axis=1).mean(),
        "log_loss": reference.log_loss(labels, p),
        "ece": calibration_error(labels, p),
    }
    assert figures(metrics) == pytest.approx(expected, abs=1e-12)
    assert metrics.confusion == reference.confusion_matrix(labels, predicted).tolist()
    assert metrics.majority_baseline == np.bincount(labels).max() / len(labels)
    assert metrics.n == 301
    assert metrics.n_groups is None


def test_figures_of_each_class_equal_those_of_scikit_learn() -> None:
    labels, p = predictions(300, 3, decimals=0)
    predicted = p.argmax(axis=1)
    precision, recall, f1, support = reference.precision_recall_fscore_support(labels, predicted)
    for c, found in enumerate(measure(labels, p, names(3), resamples=100).per_class):
        expected = {
            "auroc": reference.roc_auc_score(labels == c, p[:, c]),
            "auprc": reference.average_precision_score(labels == c, p[:, c]),
            "sensitivity": recall[c],
            "specificity": reference.recall_score(labels != c, predicted != c),
            "precision": precision[c],
            "f1": f1[c],
        }
        assert {name: getattr(found, name).value for name in CLASS_FIGURES} == pytest.approx(expected, abs=1e-12)
        assert (found.name, found.n) == (f"class {c}", support[c])


@pytest.mark.parametrize("positive", [0, 1])
def test_two_classes_are_measured_at_the_operating_point(positive: int) -> None:
    labels, p = predictions(200, 2, decimals=1)
    chosen = float(np.sort(p[:, positive])[60])
    metrics = measure(labels, p, names(2), operating_point=point(chosen, f"class {positive}"), resamples=100)
    truth, called = labels == positive, p[:, positive] >= chosen
    expected = {
        "auroc": reference.roc_auc_score(truth, p[:, positive]),
        "auprc": reference.average_precision_score(truth, p[:, positive]),
        "sensitivity": reference.recall_score(truth, called),
        "specificity": reference.recall_score(~truth, ~called),
        "precision": reference.precision_score(truth, called),
        "f1": reference.f1_score(truth, called),
        "accuracy": (truth == called).mean(),
        "balanced_accuracy": reference.balanced_accuracy_score(truth, called),
        "brier": 2 * reference.brier_score_loss(truth, p[:, positive]),
        "log_loss": reference.log_loss(labels, p),
        "ece": calibration_error(labels, p),
    }
    assert figures(metrics) == pytest.approx(expected, abs=1e-12)
    assert metrics.confusion == reference.confusion_matrix(labels, np.where(called, positive, 1 - positive)).tolist()
    assert metrics.operating_point is not None
    assert metrics.operating_point.threshold == chosen
    assert metrics.operating_point.sensitivity == metrics.sensitivity
    assert metrics.operating_point.specificity == metrics.specificity


def test_two_classes_without_an_operating_point_go_by_the_more_probable() -> None:
    labels, p = predictions(200, 2)
    metrics = measure(labels, p, names(2), resamples=100)
    assert metrics.sensitivity.value == pytest.approx(reference.recall_score(labels, p.argmax(axis=1)))
    assert metrics.auroc == metrics.per_class[1].auroc


def test_calibration_error_before_the_temperature_and_reliability_after_it() -> None:
    labels, p = predictions(400, 3)
    sharp = p**3 / (p**3).sum(axis=1, keepdims=True)
    metrics = measure(labels, p, names(3), uncalibrated=sharp, resamples=100)
    assert metrics.ece_uncalibrated.value == pytest.approx(calibration_error(labels, sharp))
    assert metrics.ece.value == pytest.approx(calibration_error(labels, p))
    assert sum(b.n for b in metrics.reliability) == 400
    gaps = [b.n * abs(b.confidence - b.accuracy) for b in metrics.reliability if b.n]
    assert sum(gaps) / 400 == pytest.approx(metrics.ece.value)
    empty = metrics.reliability[0]
    assert (empty.low, empty.high, empty.n, empty.confidence, empty.accuracy) == (0, 0.1, 0, None, None)


def test_a_probability_on_the_edge_of_two_bins_belongs_to_the_lower() -> None:
    metrics = measure([0, 1], [[0.5, 0.5], [0.4, 0.6]], names(2), resamples=100)
    assert [b.n for b in metrics.reliability] == [0, 0, 0, 0, 1, 1, 0, 0, 0, 0]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_the_order_of_images_does_not_matter(seed: int, grouped: bool) -> None:
    labels, p = predictions(40, 3, seed=seed, decimals=1)
    groups = np.random.default_rng(seed).integers(0, 15, 40) if grouped else None
    shuffle = np.random.default_rng(seed).permutation(40)
    first = measure(labels, p, names(3), groups=groups, resamples=100)
    shuffled = None if groups is None else groups[shuffle]
    second = measure(labels[shuffle], p[shuffle], names(3), groups=shuffled, resamples=100)
    for name in WHOLE_FIGURES:
        one, other = getattr(first, name), getattr(second, name)
        assert (other.value, other.low, other.high) == pytest.approx((one.value, one.low, one.high), abs=1e-9), name


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.permutations(range(4)))
def test_permuting_the_classes_permutes_the_figures(seed: int, order: list[int]) -> None:
    labels, p = predictions(50, 4, seed=seed)
    first = measure(labels, p, names(4), resamples=100)
    second = measure(np.argsort(order)[labels], p[:, order], [names(4)[c] for c in order], resamples=100)
    assert figures(second) == pytest.approx(figures(first), abs=1e-12)
    for place, c in enumerate(order):
        for name in CLASS_FIGURES:
            ours, theirs = getattr(second.per_class[place], name).value, getattr(first.per_class[c], name).value
            assert ours == pytest.approx(theirs, abs=1e-12, nan_ok=True)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 2), st.booleans())
def test_intervals_contain_their_figures_and_keep_to_the_possible(seed: int, decimals: int, grouped: bool) -> None:
    labels, p = predictions(30, 3, seed=seed, decimals=decimals)
    groups = np.random.default_rng(seed).integers(0, 12, 30) if grouped else None
    metrics = measure(labels, p, names(3), groups=groups, resamples=100)
    for name in (*CLASS_FIGURES, "accuracy", "balanced_accuracy", "ece"):
        found = getattr(metrics, name)
        assert found.low is None or 0 <= found.low <= found.value + 1e-12 <= found.high + 2e-12 <= 1 + 3e-12, name


def test_the_same_seed_gives_the_same_intervals_and_another_one_others() -> None:
    labels, p = predictions(100, 3)
    one, same, other = (measure(labels, p, names(3), resamples=200, seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert one.auroc.value == other.auroc.value
    assert one.auroc.low != other.auroc.low


def test_a_wider_confidence_gives_a_wider_interval() -> None:
    labels, p = predictions(100, 3)
    narrow, wide = (measure(labels, p, names(3), resamples=500, confidence=c) for c in (0.8, 0.99))
    for name in WHOLE_FIGURES:
        assert getattr(wide, name).high > getattr(narrow, name).high, name
        assert getattr(wide, name).low < getattr(narrow, name).low or getattr(wide, name).low == 0, name


def test_intervals_shrink_with_the_square_root_of_n() -> None:
    labels, p = predictions(200, 3)
    few = measure(labels, p, names(3), resamples=1000)
    many = measure(np.tile(labels, 16), np.tile(p, (16, 1)), names(3), resamples=1000)
    for name in ("auroc", "accuracy", "brier", "log_loss", "f1"):
        one, other = getattr(few, name), getattr(many, name)
        assert (one.high - one.low) / (other.high - other.low) == pytest.approx(4, rel=0.2), name


def test_images_of_one_patient_are_one_piece_of_evidence() -> None:
    labels, p = predictions(60, 3)
    alone = measure(labels, p, names(3), resamples=1000)
    copies, groups = np.repeat(labels, 5), np.repeat(np.arange(60), 5)
    copied = measure(copies, np.repeat(p, 5, axis=0), names(3), groups=groups, interval_unit="patient", resamples=1000)
    assert (copied.n, copied.n_groups, copied.interval_unit) == (300, 60, "patient")
    for name in ("auroc", "accuracy", "brier", "sensitivity"):
        one, other = getattr(alone, name), getattr(copied, name)
        assert other.value == pytest.approx(one.value)
        assert other.high - other.low == pytest.approx(one.high - one.low, rel=0.15), name


def test_one_patient_alone_shows_next_to_nothing() -> None:
    labels, p = predictions(60, 3)
    metrics = measure(labels, p, names(3), groups=["only"] * 60, resamples=100)
    assert metrics.n_groups == 1
    assert metrics.accuracy.high - metrics.accuracy.low > 0.7


def test_a_class_without_images_has_no_figures_and_does_not_count() -> None:
    labels, p = predictions(100, 4)
    kept = labels != 2
    metrics = measure(labels[kept], p[kept], names(4), resamples=100)
    absent = metrics.per_class[2]
    assert absent.n == 0
    assert all(getattr(absent, name).value is None and getattr(absent, name).low is None for name in CLASS_FIGURES)
    others = [metrics.per_class[c] for c in (0, 1, 3)]
    for name in ("auroc", "sensitivity", "f1"):
        assert getattr(metrics, name).value == pytest.approx(np.mean([getattr(c, name).value for c in others]))


def test_a_single_class_has_an_accuracy_but_no_auroc() -> None:
    metrics = measure([1, 1, 1], [[0.2, 0.8], [0.6, 0.4], [0.1, 0.9]], names(2), resamples=100)
    assert metrics.auroc.value is None
    assert metrics.specificity.value is None
    assert metrics.accuracy.value == pytest.approx(2 / 3)
    assert np.isnan(macro_auroc([1, 1], [[0.2, 0.8], [0.6, 0.4]]))


def test_a_class_that_is_never_predicted_has_no_precision_and_lowers_the_macro_mean() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    p = np.tile([0.9, 0.1], (6, 1))
    p[:, 0] -= np.linspace(0, 0.05, 6)
    p[:, 1] = 1 - p[:, 0]
    three = np.column_stack([p * 0.9, np.full(6, 0.1)])
    metrics = measure(labels, three, names(3), resamples=100)
    assert metrics.per_class[1].precision.value is None
    assert metrics.per_class[1].f1.value == 0
    assert metrics.precision.value == pytest.approx(0.25)


def test_a_class_that_too_many_resamples_lack_has_no_interval() -> None:
    labels = np.array([0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0])  # class 1 only beside others, of one patient of four
    groups = np.array([0, 0, 1, 1, 2, 2, 3, 3, 0, 1, 1, 1])
    p = np.column_stack([np.linspace(0.2, 0.8, 12), 1 - np.linspace(0.2, 0.8, 12)])
    auroc = measure(labels, p, names(2), groups=groups, resamples=400).auroc
    assert auroc.value is not None
    assert (auroc.low, auroc.high) == (None, None)


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([], np.empty((0, 2)), "cannot be measured"),
        ([0, 1], [[0.5, 0.5]], "cannot be measured"),
        ([0, 1], [[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]], "3 classes"),
        ([0, 2], [[0.5, 0.5], [0.5, 0.5]], "labels must be"),
        ([0, 1], [[0.5, 0.5], [np.nan, 0.5]], "not finite"),
        ([0, 1], [[2.0, 3.0], [1.0, 0.0]], "sum to 1"),
        ([0, 1], [[-0.5, 1.5], [1.0, 0.0]], "sum to 1"),
    ],
)
def test_what_cannot_be_measured_is_refused(labels: list[int], probabilities: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        measure(labels, probabilities, names(2))


def test_groups_and_operating_points_that_do_not_fit_are_refused() -> None:
    labels, p = predictions(10, 2)
    with pytest.raises(InputError, match="3 groups do not fit 10 images"):
        measure(labels, p, names(2), groups=[1, 2, 3])
    with pytest.raises(InputError, match="'tumour' does not fit"):
        measure(labels, p, names(2), operating_point=point(0.5, "tumour"))


def test_scores_for_selection_equal_those_of_scikit_learn() -> None:
    labels, p = predictions(150, 4, decimals=0)
    assert macro_auroc(labels, p) == pytest.approx(reference.roc_auc_score(labels, p, multi_class="ovr"))
    assert balanced_accuracy(labels, p) == pytest.approx(reference.balanced_accuracy_score(labels, p.argmax(axis=1)))
    assert log_loss(labels, p) == pytest.approx(reference.log_loss(labels, p))
    labels, p = predictions(80, 2)
    assert macro_auroc(labels, p) == pytest.approx(reference.roc_auc_score(labels, p[:, 1]))


@pytest.mark.parametrize("metric", ["auroc", "accuracy", "balanced_accuracy"])
def test_paired_difference_and_its_sign(metric: str) -> None:
    labels, good = predictions(300, 3, shift=2.5)
    bad = answers(labels, 3, shift=0.5)
    score = {
        "auroc": lambda p: reference.roc_auc_score(labels, p, multi_class="ovr"),
        "accuracy": lambda p: reference.accuracy_score(labels, p.argmax(axis=1)),
        "balanced_accuracy": lambda p: reference.balanced_accuracy_score(labels, p.argmax(axis=1)),
    }[metric]
    found = paired_bootstrap(labels, good, bad, metric=metric, resamples=500)
    turned = paired_bootstrap(labels, bad, good, metric=metric, resamples=500)
    assert found.value == pytest.approx(score(good) - score(bad))
    assert 0 < found.low < found.value < found.high
    assert turned.value == pytest.approx(-found.value)
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low), rel=0.1)


def test_pairing_makes_the_interval_of_similar_models_short() -> None:
    labels, p = predictions(200, 3)
    like = p * np.exp(np.random.default_rng(1).normal(scale=0.05, size=p.shape))
    like /= like.sum(axis=1, keepdims=True)
    unlike = answers(labels, 3, seed=2)
    near, far = paired_bootstrap(labels, p, like, resamples=500), paired_bootstrap(labels, p, unlike, resamples=500)
    assert near.high - near.low < (far.high - far.low) / 5
    assert near.low < 0 < near.high
    same = paired_bootstrap(labels, p, p, resamples=100)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_paired_difference_by_patients_is_less_certain() -> None:
    labels, one = predictions(40, 2)
    copies = [np.repeat(x, 6, axis=0) for x in (labels, one, answers(labels, 2, seed=3))]
    alone = paired_bootstrap(*copies, resamples=500)
    grouped = paired_bootstrap(*copies, groups=np.repeat(np.arange(40), 6), resamples=500)
    assert grouped.value == alone.value
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.7, 0.9])), min_size=1, max_size=40),
    st.floats(0.05, 1),
)
def test_threshold_is_the_highest_that_keeps_the_sensitivity(images: list[tuple[bool, float]], target: float) -> None:
    labels, scores = np.array([(True, 0.4), *images]).T
    labels = labels.astype(bool)
    threshold = choose_threshold(labels, scores, target)
    assert (scores[labels] >= threshold).mean() >= target - 1e-9
    higher = np.nextafter(threshold, 2)
    assert (scores[labels] >= higher).mean() < target


def test_threshold_of_a_rounded_target_and_without_positives() -> None:
    assert choose_threshold([True] * 10, np.arange(10) / 10, 0.9) == pytest.approx(0.1)
    with pytest.raises(InputError, match="positive class"):
        choose_threshold([False, False], [0.1, 0.2], 0.9)
    with pytest.raises(InputError, match=r"target in \(0, 1\]"):
        choose_threshold([True], [0.1], 1.5)


def test_two_thousand_resamples_of_a_thousand_images_take_seconds_at_most() -> None:
    labels, p = predictions(1000, 4)
    started = time.process_time()
    measure(labels, p, names(4), uncalibrated=p, groups=np.arange(1000) // 4)
    assert time.process_time() - started < 4


def test_memory_does_not_grow_with_the_resamples() -> None:
    labels, p = predictions(20_000, 3)
    tracemalloc.start()
    measure(labels, p, names(3), resamples=200)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000 * 200 * 8  # the weights of all resamples alone
