"""Is what a choice adds to a score taken off?"""

from functools import partial

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from diascope.calibration import fit_temperature, softmax
from diascope.choice_bias import lost, optimism_of
from diascope.selection import best_for_its_cost

N = 240
LABELS = np.arange(N) // 4 % 3
GROUPS = np.array([f"g{i // 4}" for i in range(N)])


def best(scores: np.ndarray) -> int:
    return int(scores.argmax())


def logits(strength: float, seed: int) -> np.ndarray:
    return strength * np.eye(3)[LABELS] + np.random.default_rng(seed).normal(size=(N, 3))


def auroc(z: np.ndarray) -> float:
    return float(roc_auc_score(LABELS, softmax(z, fit_temperature(z, LABELS)), multi_class="ovr"))


def test_of_settings_that_are_equally_good_the_best_is_corrected_to_what_they_are_worth() -> None:
    left = []
    for start in (0, 1000, 2000):
        settings = [logits(0.5, start + seed) for seed in range(60)]
        scores = [auroc(z) for z in settings]
        flattered = max(scores) - np.mean(scores)
        left.append(flattered - optimism_of(best, settings, LABELS, GROUPS, "auroc", 1))
        assert abs(left[-1]) < 0.3 * flattered
    assert abs(np.mean(left)) < 0.01


def test_a_setting_that_is_always_the_best_keeps_its_score() -> None:
    settings = [logits(0.2, seed) for seed in range(20)] + [logits(4, 99)]
    for metric in ("auroc", "balanced_accuracy", "log_loss"):
        assert optimism_of(best, settings, LABELS, GROUPS, metric, 1) == 0
        assert optimism_of(best, settings[:1], LABELS, GROUPS, metric, 1) == 0


@pytest.mark.parametrize("metric", ["auroc", "balanced_accuracy", "log_loss"])
def test_confidence_alone_is_no_choice(metric: str) -> None:
    """The same answers said more or less boldly are as good: they are calibrated before they are compared."""
    one = logits(1, 5)
    alike = [one, 0.3 * one, 3 * one]
    assert optimism_of(best, alike, LABELS, GROUPS, metric, 1) == pytest.approx(0, abs=1e-5)


def test_it_is_the_rule_by_which_something_is_taken_that_is_repeated() -> None:
    settings = [logits(0.5, seed) for seed in range(40)]
    costs = np.arange(40) + 1.0
    always_the_cheapest = partial(best_for_its_cost, gigamacs=costs, tolerance=1.0)
    assert optimism_of(always_the_cheapest, settings, LABELS, GROUPS, "auroc", 1) == 0
    assert optimism_of(best, settings, LABELS, GROUPS, "auroc", 1) > 0.02


def test_what_is_lost_is_counted_where_it_is_known() -> None:
    rest = np.array([[0.9, 0.8, np.nan, 0.7], [0.7, 0.9, np.nan, 0.7]])
    assert lost(rest, np.array([1, 0, 1, 0]), taken=0) == pytest.approx(0.2 / 3)
    assert lost(rest, np.array([0, 1, 1, 1]), taken=0) == 0  # never less than nothing
    assert lost(np.full((2, 3), np.nan), np.array([0, 1, 0]), taken=1) == 0


def test_groups_are_drawn_as_a_whole() -> None:
    """What only a twin could know counts as chance: the twins of an image are not drawn without it."""
    of_group = np.repeat(np.random.default_rng(0).normal(size=(60, 200)), 4, axis=0)
    settings = [np.column_stack([of_group[:, i], of_group[:, i + 1], of_group[:, i + 2]]) for i in range(0, 198, 2)]
    apart = np.arange(N).astype(str)
    together = optimism_of(best, settings, LABELS, GROUPS, "auroc", 1)
    assert together > optimism_of(best, settings, LABELS, apart, "auroc", 1) + 0.01
    assert together > 0.04
