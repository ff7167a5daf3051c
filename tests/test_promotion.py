"""The gate in every case, and whether its sentence says what it rests on."""

import numpy as np
import pytest

from diascope.config import PromotionConfig
from diascope.metrics import Estimate, Metrics, measure
from diascope.promotion import Champion, Decision, decide

LABELS = np.arange(300) % 3


def model(shift: float, *, labels: np.ndarray = LABELS, seed: int = 0, own: float = 0.3) -> np.ndarray:
    """Probabilities of a model; `own` is how much of its noise it does not share with the others."""
    shared, rng = np.random.default_rng(9), np.random.default_rng(seed)
    logits = shared.normal(size=(len(labels), 3)) + own * rng.normal(size=(len(labels), 3))
    logits[np.arange(len(labels)), labels] += shift
    powers = np.exp(logits)
    return powers / powers.sum(axis=1, keepdims=True)


def measured(p: np.ndarray, labels: np.ndarray = LABELS, groups: np.ndarray | None = None) -> Metrics:
    unit = "image" if groups is None else "patient"
    return measure(labels, p, ["a", "b", "c"], groups=groups, interval_unit=unit, resamples=500)


def against(
    new: np.ndarray, old: np.ndarray, *, labels: np.ndarray = LABELS, margin: float = 0.01, **further: object
) -> Decision:
    config = PromotionConfig(model="chest", margin=margin, floors={"auroc": 0.5})
    champion = Champion(version="4", probabilities=old)
    return decide(measured(new, labels), config, champion=champion, labels=labels, probabilities=new, **further)


def test_the_first_model_is_promoted_when_it_keeps_the_floors() -> None:
    metrics = measured(model(2))
    config = PromotionConfig(model="chest", floors={"auroc": 0.7, "sensitivity": 0.5})
    decision = decide(metrics, config, champion=None)
    assert (decision.promoted, decision.case, decision.n) == (True, "first", 300)
    assert f"AUROC {metrics.auroc.value:.3f}" in decision.reason
    assert f"{metrics.auroc.low:.3f} to {metrics.auroc.high:.3f}" in decision.reason
    assert "floor of 0.7" in decision.reason
    assert "300 test images" in decision.reason


def test_without_floors_the_first_model_is_promoted_and_that_is_said() -> None:
    decision = decide(measured(model(2)), PromotionConfig(model="chest"), champion=None)
    assert decision.promoted
    assert "no floor is set" in decision.reason


def test_a_floor_holds_for_the_lower_end_not_for_the_figure() -> None:
    metrics = measured(model(2))
    between = (metrics.accuracy.low + metrics.accuracy.value) / 2
    decision = decide(metrics, PromotionConfig(model="chest", floors={"accuracy": between}), champion=None)
    assert (decision.promoted, decision.case) == (False, "floor")
    assert f"{metrics.accuracy.value:.3f} (95 % interval {metrics.accuracy.low:.3f} to" in decision.reason
    reached = PromotionConfig(model="chest", floors={"accuracy": metrics.accuracy.low})
    assert decide(metrics, reached, champion=None).promoted


def test_a_floor_holds_also_against_a_worse_champion() -> None:
    new, config = model(2), PromotionConfig(model="chest", floors={"accuracy": 0.99})
    champion = Champion(version="4", probabilities=model(0.5))
    decision = decide(measured(new), config, champion=champion, labels=LABELS, probabilities=new)
    assert (decision.promoted, decision.case) == (False, "floor")


@pytest.mark.parametrize("estimate", [Estimate(value=None), Estimate(value=0.9)])
def test_a_floor_on_a_missing_figure_refuses(estimate: Estimate) -> None:
    metrics = measured(model(2)).model_copy(update={"specificity": estimate})
    config = PromotionConfig(model="chest", floors={"auroc": 0.5, "specificity": 0.1})
    decision = decide(metrics, config, champion=None)
    assert (decision.promoted, decision.case) == (False, "metric_missing")
    assert "specificity" in decision.reason


def test_a_better_model_is_promoted() -> None:
    decision = against(model(2.5), model(1))
    assert (decision.promoted, decision.case, decision.n) == (True, "better", 300)
    assert decision.difference is not None
    assert decision.difference.low > 0
    assert "better than version 4" in decision.reason
    assert f"{decision.difference.value:+.3f}" in decision.reason
    assert "same 300 test images" in decision.reason


def test_a_worse_model_is_refused() -> None:
    decision = against(model(1), model(2.5))
    assert (decision.promoted, decision.case) == (False, "worse")
    assert decision.difference.high < 0
    assert "worse than version 4" in decision.reason


def test_a_model_that_is_about_as_good_is_promoted_as_not_worse() -> None:
    decision = against(model(2, seed=1, own=0.05), model(2, seed=2, own=0.05))
    assert decision.case == "not_worse"
    assert decision.promoted
    assert -0.01 <= decision.difference.low <= 0 <= decision.difference.high
    assert "margin of 0.01" in decision.reason


def test_what_few_images_cannot_show_is_refused_as_inconclusive() -> None:
    labels = LABELS[:45]
    decision = against(
        model(1.5, labels=labels, seed=1, own=1), model(1.5, labels=labels, seed=2, own=1), labels=labels
    )
    assert (decision.promoted, decision.case) == (False, "inconclusive")
    assert decision.difference.low < -0.01 < decision.difference.high
    assert "cannot be shown to be not worse" in decision.reason


def test_a_wider_margin_accepts_more() -> None:
    new, old = model(1.95, seed=1), model(2, seed=2)
    assert [against(new, old, margin=margin).promoted for margin in (0, 0.2)] == [False, True]


def test_slightly_but_certainly_worse_within_the_margin_is_not_worse() -> None:
    decision = against(model(1.9, own=0), model(2, own=0), margin=0.05)
    assert decision.difference.high < 0
    assert decision.case == "not_worse"


def test_models_tied_in_every_resample_are_not_worse_without_any_margin() -> None:
    labels = np.arange(60) % 2
    score = np.clip(0.3 + 0.3 * labels + np.random.default_rng(0).normal(scale=0.2, size=60), 0.01, 0.99)
    new, old = np.column_stack([1 - score, score]), np.column_stack([1 - score**2, score**2])
    metrics = measure(labels, new, ["a", "b"], resamples=200)
    champion = Champion(version="4", probabilities=old)
    config = PromotionConfig(model="chest", margin=0)
    decision = decide(metrics, config, champion=champion, labels=labels, probabilities=new)
    assert (decision.promoted, decision.case, decision.difference.value) == (True, "not_worse", 0)


@pytest.mark.parametrize("identical", [True, False])
def test_the_model_in_production_is_not_promoted_again(identical: bool) -> None:
    old = model(2)
    new = model(0.1) if identical else old + 1e-9
    decision = against(new, old, identical=identical)
    assert (decision.promoted, decision.case) == (False, "identical")
    assert "version 4" in decision.reason


def test_a_model_that_also_tells_foreign_images_takes_the_place_of_one_with_the_same_answers() -> None:
    old = model(2)
    champion = Champion(version="4", probabilities=old, outdated=True)
    config = PromotionConfig(model="chest")
    decision = decide(measured(old), config, champion=champion, labels=LABELS, probabilities=old)
    assert (decision.promoted, decision.case, decision.difference.value) == (True, "not_worse", 0)


def test_identical_is_said_also_where_the_floors_have_been_raised() -> None:
    config = PromotionConfig(model="chest", floors={"auroc": 0.999})
    decision = decide(measured(model(1)), config, champion=Champion(version="4"), identical=True)
    assert decision.case == "identical"


@pytest.mark.parametrize("replace", [False, True])
def test_another_dataset_is_not_comparable(replace: bool) -> None:
    champion = Champion(version="4", why_not="it tells other classes apart (benign, malignant)")
    config = PromotionConfig(model="chest", floors={"auroc": 0.5}, replace=replace)
    decision = decide(measured(model(2)), config, champion=champion)
    assert (decision.promoted, decision.case, decision.difference) == (replace, "not_comparable", None)
    assert "because it tells other classes apart (benign, malignant)" in decision.reason
    assert ("promotion.replace" in decision.reason) != replace


def test_replacing_does_not_override_a_floor() -> None:
    config = PromotionConfig(model="chest", floors={"auroc": 0.99}, replace=True)
    decision = decide(measured(model(1)), config, champion=Champion(version="4"))
    assert (decision.promoted, decision.case) == (False, "floor")


@pytest.mark.parametrize("kept", [0, 9])
def test_too_few_images_that_the_champion_has_not_seen_are_not_comparable(kept: int) -> None:
    new, old = model(3), model(2)
    champion = Champion(version="4", probabilities=old[:kept], n_excluded=300 - kept)
    config = PromotionConfig(model="chest")
    decision = decide(measured(new), config, champion=champion, labels=LABELS[:kept], probabilities=new[:kept])
    assert (decision.promoted, decision.case) == (False, "not_comparable")
    assert f"{300 - kept} are left out because it was trained on them" in decision.reason


def test_images_that_the_champion_was_trained_on_are_said_to_be_left_out() -> None:
    new, old = model(2.5)[40:], model(1)[40:]
    champion = Champion(version="4", probabilities=old, n_excluded=40)
    decision = decide(
        measured(model(2.5)), PromotionConfig(model="chest"), champion=champion, labels=LABELS[40:], probabilities=new
    )
    assert (decision.case, decision.n) == ("better", 260)
    assert "same 260 test images; 40 left out because it was trained on them" in decision.reason


def test_patients_count_not_their_images() -> None:
    labels = np.repeat(np.arange(45) % 3, 8)
    new = np.repeat(model(2.0, labels=labels[::8], seed=1), 8, axis=0)
    old = np.repeat(model(1.6, labels=labels[::8], seed=2), 8, axis=0)
    groups = np.repeat(np.arange(45), 8)
    champion, config = Champion(version="4", probabilities=old), PromotionConfig(model="chest", margin=0)
    by_image = decide(measured(new, labels), config, champion=champion, labels=labels, probabilities=new)
    by_patient = decide(
        measured(new, labels, groups), config, champion=champion, labels=labels, probabilities=new, groups=groups
    )
    width = [d.difference.high - d.difference.low for d in (by_image, by_patient)]
    assert width[1] > 2 * width[0]
    assert "360 test images of 45 patients" in by_patient.reason


def test_every_reason_is_one_sentence() -> None:
    config = PromotionConfig(model="chest", floors={"auroc": 0.5})
    decisions = [
        decide(measured(model(2)), config, champion=None),
        against(model(2.5), model(1)),
        against(model(1), model(2.5)),
        against(model(2), model(2)),
        decide(measured(model(2)), config, champion=Champion(version="4")),
    ]
    for decision in decisions:
        assert decision.reason.endswith(".")
        assert ". " not in decision.reason
        assert "None" not in decision.reason
        assert "nan" not in decision.reason
