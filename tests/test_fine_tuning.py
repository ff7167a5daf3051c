"""Does training the top of a network further beat its frozen features?"""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import PLAIN, backbone, candidate, groups, scratch, striped, stripes

from diascope.candidates import train_candidate
from diascope.checkpoints import Checkpoint
from diascope.comparison import Comparison
from diascope.config import SelectionConfig
from diascope.development import Development
from diascope.errors import InputError
from diascope.fine_tuning import FineTuning
from diascope.linear_fit import LinearFit
from diascope.network_fit import NetworkFit
from diascope.trained_candidate import describe

ROOT = Path(__file__).resolve().parent.parent
DEVELOPMENT = Development.of(striped(), groups(striped()))
PIXELS = np.stack([stripes(i // 2 % 2, i, 64, 64)[..., None].repeat(3, axis=2) for i in range(34)])
PAIRS = [(np.arange(20), np.arange(20, 34))]
TUNED: dict[str, Any] = {
    "fine_tune_layers": 8,
    "epochs": 6,
    "batch_size": 8,
    "learning_rate": 3e-3,
    "early_stopping": 0,
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIASCOPE_CACHE", str(tmp_path))
    return tmp_path / "fits"


def tuning(metric: str = "auroc", **options: Any) -> FineTuning:
    config = candidate(**{**TUNED, **options})
    return FineTuning(config, backbone(PLAIN), PIXELS, DEVELOPMENT, 3, metric)


def comparison(separation: float) -> Comparison:
    """Out-of-fold logits that tell the classes apart more or less well."""
    rows = PAIRS[0][1]
    noise = np.random.default_rng(1).normal(size=len(rows))
    logits = np.stack([noise, separation * (DEVELOPMENT.labels[rows] - 0.5) - noise], axis=1)
    return Comparison(rows, logits, {"epochs": 4.0}, "epoch", [], np.ones(len(rows)))


def guess(rows: np.ndarray) -> Comparison:
    """Out-of-fold logits that know nothing."""
    logits = np.random.default_rng(1).normal(size=(len(rows), 2))
    return Comparison(rows, logits, {}, "weight decay", [], np.ones(len(rows)))


# The better of both


@pytest.mark.parametrize("metric", ["auroc", "log_loss"])
@pytest.mark.parametrize(("frozen", "tuned", "kept"), [(0.5, 4.0, 1.0), (4.0, 0.5, 0.0), (2.0, 2.0, 0.0)])
def test_what_is_better_on_held_out_images_is_kept(
    monkeypatch: pytest.MonkeyPatch, metric: str, frozen: float, tuned: float, kept: float
) -> None:
    monkeypatch.setattr(LinearFit, "compare", lambda *_: comparison(frozen))
    monkeypatch.setattr(NetworkFit, "compare", lambda *_: comparison(tuned))
    found = tuning(metric).compare(PAIRS)
    expected = comparison(tuned if kept else frozen)
    np.testing.assert_array_equal(found.logits, expected.logits)
    assert found.chosen["fine_tuned"] == kept
    for name, separation in (("fine_tuned", tuned), ("frozen", frozen)):
        score = comparison(separation).scores(DEVELOPMENT.labels)[metric]
        assert found.chosen[f"{name}_{metric}"] == score
        assert f"{score:.3f}" in found.note
    assert ("fine-tuned layers kept" if kept else "frozen features kept") in found.note


def test_frozen_features_that_are_kept_are_those_of_a_frozen_candidate() -> None:
    fit = tuning()
    held_out = fit._compare_frozen(PAIRS)
    pixels = fit.backbone.network()(PIXELS, training=False)[0].numpy()
    plain = LinearFit(candidate(), backbone(PLAIN), pixels, DEVELOPMENT, 3)
    expected = plain.compare(PAIRS)
    np.testing.assert_allclose(held_out.logits, expected.logits, atol=0.02)
    assert held_out.distances.shape == (14,)
    _, head = fit.final({**held_out.chosen, "fine_tuned": 0.0})
    network, wanted = plain.final(expected.chosen)
    np.testing.assert_allclose(head.logits(pixels), wanted.logits(pixels), atol=0.02)
    assert all(
        np.array_equal(a, b) for a, b in zip(network.get_weights(), fit.backbone.network().get_weights(), strict=True)
    )


def test_the_weight_decay_of_the_optimizer_is_no_penalty_of_the_frozen_head() -> None:
    plain, decayed = tuning(), tuning(weight_decay=0.5)
    one, other = (fit._compare_frozen(PAIRS) for fit in (plain, decayed))
    np.testing.assert_array_equal(one.logits, other.logits)
    assert one.chosen == other.chosen
    starts = [fit._start(fit._rows(*PAIRS[0])).layers[0][0] for fit in (plain, decayed)]
    np.testing.assert_array_equal(*starts)


def test_layers_that_have_nothing_to_learn_are_refused_with_a_number_that_does() -> None:
    for top, fits in ((1, False), (3, False), (4, True), (100, True)):
        if fits:
            tuning(fine_tune_layers=top)._require_something_to_learn()
            continue
        with pytest.raises(InputError, match=rf"^Candidate small: the top {top} layers .* say fine_tune_layers: 4, or"):
            tuning(fine_tune_layers=top).compare(PAIRS)


def test_a_fine_tuned_network_is_trained_again_and_its_record_says_so(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FineTuning, "_compare_frozen", lambda _, pairs: guess(pairs[0][1]))
    config = candidate(**TUNED)
    selection = SelectionConfig(method="validation", metric="log_loss")
    own = groups(striped())
    winner = train_candidate(config, backbone(PLAIN), striped(), None, own, selection, 3, scratch())
    assert winner.result.description.startswith(describe(config, backbone(PLAIN)))
    assert winner.result.chosen["fine_tuned"] == 1
    assert winner.result.chosen["fine_tuned_log_loss"] < winner.result.chosen["frozen_log_loss"]
    network, head = tuning().final(winner.result.chosen)
    features = network(PIXELS, training=False)[0].numpy()
    assert not np.allclose(features, backbone(PLAIN).network()(PIXELS, training=False)[0].numpy(), atol=1e-3)
    assert ((head.logits(features)[:, 1] > head.logits(features)[:, 0]) == DEVELOPMENT.labels).mean() > 0.9
    assert not any(cache.iterdir())


# Two phases


def test_the_head_is_trained_alone_first() -> None:
    fit = tuning(head_epochs=12, head_learning_rate=0.05, learning_rate=1e-9, epochs=1)
    rows = fit._rows(*PAIRS[0])
    start = fit._start(rows)
    assert not start.layers[0][0].any()
    trained = fit._train(rows)
    unchanged = fit.backbone.network().get_weights()
    assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(trained.network.get_weights(), unchanged, strict=True))
    truth = np.eye(2)[DEVELOPMENT.labels[rows.fitted]]
    logits = trained.head.logits(fit._linear.inputs[rows.fitted])
    loss = (np.log(np.exp(logits).sum(axis=1)) - (logits * truth).sum(axis=1)).mean()
    assert loss < 0.6 < np.log(2)


# After an interrupt

CHILD = """
import sys
sys.path.insert(0, "tests")
from test_fine_tuning import PAIRS, tuning
from diascope.network_fit import NetworkFit
NetworkFit.compare(tuning(**eval(sys.argv[1])), PAIRS)
"""
LONG: dict[str, Any] = {
    "epochs": 40,
    "head_epochs": 2,
    "warmup_epochs": 2,
    "layer_decay": 0.7,
    "augmentation": {"horizontal_flip": True, "gamma": 0.2},
}


def test_a_fit_that_was_killed_goes_on_and_comes_to_the_same(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIASCOPE_CACHE", str(tmp_path / "other"))
    whole = NetworkFit.compare(tuning(**LONG), PAIRS)
    monkeypatch.setenv("DIASCOPE_CACHE", str(tmp_path))
    child = subprocess.Popen([sys.executable, "-c", CHILD, repr(LONG)], cwd=ROOT, stderr=subprocess.PIPE)
    try:
        checkpoint = _after(cache, child, epochs=5)
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    before = checkpoint.read()
    assert before is not None
    assert 5 <= before.epochs < 40
    first = []
    fit = __import__("keras").Model.fit
    monkeypatch.setattr(
        "keras.Model.fit", lambda *a, **options: (first.append(options["initial_epoch"]), fit(*a, **options))[1]
    )
    resumed = NetworkFit.compare(tuning(**LONG), PAIRS)
    assert first == [before.epochs]
    assert resumed.curve == whole.curve
    np.testing.assert_array_equal(resumed.logits, whole.logits)
    assert not any(cache.iterdir())


def _after(cache: Path, child: subprocess.Popen, epochs: int) -> Checkpoint:
    """The checkpoint of the child's network once so many epochs are behind."""
    end = time.monotonic() + 120
    while time.monotonic() < end and child.poll() is None:
        for path in cache.glob("*/*.npz"):
            state = Checkpoint(path).read()
            if state and epochs <= state.epochs:
                return Checkpoint(path)
        time.sleep(0.01)
    said = child.stderr.read().decode()[-3000:] if child.stderr and child.poll() is not None else ""
    raise AssertionError(f"there is no checkpoint after {epochs} epochs {said}")


def test_a_fold_that_is_done_is_not_fitted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    halves = [(np.arange(17), np.arange(17, 34)), (np.arange(17, 34), np.arange(17))]
    train, seen = NetworkFit._train, []

    def interrupted(self: NetworkFit, rows: Any) -> Any:
        seen.append(rows.fitted[0])
        if len(seen) == 2:
            raise KeyboardInterrupt
        return train(self, rows)

    monkeypatch.setattr(NetworkFit, "_train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        NetworkFit.compare(tuning(), halves)
    fits = []
    fit = __import__("keras").Model.fit
    monkeypatch.setattr("keras.Model.fit", lambda *a, **options: (fits.append(1), fit(*a, **options))[1])
    NetworkFit.compare(tuning(), halves)
    assert len(fits) == 1


def test_a_fit_that_diverges_leaves_nothing(cache: Path) -> None:
    with pytest.raises(InputError, match=r"^Candidate wild: in epoch \d .* no longer a number; lower its learn"):
        tuning(name="wild", learning_rate=1e30, optimizer="sgd").compare(PAIRS)
    assert not any(cache.iterdir())


def test_another_setting_does_not_take_up_what_was_left() -> None:
    names = {
        tuning(**options)._checkpoints.root
        for options in ({}, {"learning_rate": 1e-3}, {"augmentation": {"noise": 0.1}}, {"name": "renamed"})
    }
    assert len(names) == 3  # a name makes no difference
    other = FineTuning(candidate(**TUNED), backbone(PLAIN), PIXELS, DEVELOPMENT, 3, fingerprint="other images")
    assert other._checkpoints.root not in names
