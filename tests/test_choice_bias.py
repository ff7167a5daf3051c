"""Is what a choice adds to a score taken off?"""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, log_loss, roc_auc_score

from diascope.calibration import fit_temperature, softmax
from diascope.choice_bias import corrected_score

N = 240
LABELS = np.arange(N) // 4 % 3
GROUPS = np.array([f"g{i // 4}" for i in range(N)])


def logits(strength: float, seed: int) -> np.ndarray:
    return strength * np.eye(3)[LABELS] + np.random.default_rng(seed).normal(size=(N, 3))


def auroc(z: np.ndarray) -> float:
    return float(roc_auc_score(LABELS, softmax(z, 1), multi_class="ovr"))


def test_of_settings_that_are_equally_good_the_best_is_corrected_towards_what_they_are_worth() -> None:
    settings = [logits(0.5, seed) for seed in range(60)]
    truth, top = np.mean([auroc(z) for z in settings]), max(auroc(z) for z in settings)
    corrected = corrected_score(settings, LABELS, GROUPS, "auroc", 1)
    assert truth - 0.01 < corrected < truth + 0.55 * (top - truth)


def test_a_setting_that_is_truly_better_keeps_its_score() -> None:
    settings = [logits(0.2, seed) for seed in range(20)] + [logits(2, 99)]
    assert corrected_score(settings, LABELS, GROUPS, "auroc", 1) == pytest.approx(auroc(settings[-1]), abs=0.01)


@pytest.mark.parametrize("metric", ["auroc", "balanced_accuracy", "log_loss"])
def test_one_setting_alone_has_nothing_to_correct(metric: str) -> None:
    z = logits(1, 5)
    p = softmax(z, fit_temperature(z, LABELS))
    plain = {
        "auroc": auroc(z),
        "balanced_accuracy": balanced_accuracy_score(LABELS, z.argmax(axis=1)),
        "log_loss": log_loss(LABELS, p),
    }
    assert corrected_score([z], LABELS, GROUPS, metric, 1) == pytest.approx(plain[metric], abs=0.02)


def test_the_lower_log_loss_is_the_better_one() -> None:
    good, bad = logits(2, 1), logits(0, 2)
    one = corrected_score([good, bad], LABELS, GROUPS, "log_loss", 1)
    assert one == corrected_score([good], LABELS, GROUPS, "log_loss", 1)


def test_groups_are_drawn_as_a_whole() -> None:
    """What only a twin could know counts as chance: the twins of an image are not drawn without it."""
    of_group = np.repeat(np.random.default_rng(0).normal(size=(60, 200)), 4, axis=0)
    settings = [np.column_stack([of_group[:, i], of_group[:, i + 1], of_group[:, i + 2]]) for i in range(0, 198, 2)]
    apart = np.arange(N).astype(str)
    together = corrected_score(settings, LABELS, GROUPS, "auroc", 1)
    assert together < corrected_score(settings, LABELS, apart, "auroc", 1) - 0.01
    assert together < max(map(auroc, settings)) - 0.04
