"""How does one descent go from its first epoch to its last?"""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from diascope.batches import Batches
from diascope.checkpoints import Checkpoint, State
from diascope.descent import LOWERED, PLATEAU, Plan, descend
from diascope.errors import InputError
from diascope.rates import Steps


class Killed(BaseException):
    """Stands for what ends a process between two epochs."""


class Mortal(Checkpoint):
    """A checkpoint whose process dies after some writes."""

    def __init__(self, path: Path, writes: int) -> None:
        super().__init__(path)
        self.left = writes

    def write(self, state: State) -> None:
        super().write(state)
        self.left -= 1
        if not self.left:
            raise Killed


def network(seed: int = 1) -> keras.Model:
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    body = [
        keras.Input((6,)),
        layers.Dense(8),
        layers.BatchNormalization(),
        layers.Dropout(0.3, seed=4),
        layers.Dropout(0.3, seed=5, trainable=False),  # as among frozen layers, where it draws all the same
        layers.Dense(2),
    ]
    return keras.Sequential(body)


def batches(noise: bool = False) -> tuple[Batches, Batches]:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 6)).astype(np.float32), rng.integers(0, 2, 60)
    if not noise:
        x[:, 0] += 2 * y
    fitted, held_out = (
        Batches(x, y, rows, np.ones(len(rows)), 8, seed=3) for rows in (np.arange(40), np.arange(40, 60))
    )
    return fitted, held_out


def plan(optimizer: str = "adamw", rate: float = 0.01, schedule: str = "cosine", **options: Any) -> Plan:
    steps = Steps(optimizer, rate, 0.01, 0.9, schedule)
    return Plan(**{"name": "small", "steps": steps, "epochs": 6, "of": 6, **options})


def fit(how: Plan, checkpoint: Checkpoint | None = None, noise: bool = False) -> tuple[list[np.ndarray], State]:
    found = network()
    state = descend(found, *batches(noise), how, checkpoint)
    return found.get_weights(), state


# Going on after an interrupt

PLANS = {
    "adamw, cosine": (plan(), False),
    "sgd, stopped early": (plan("sgd", epochs=40, of=40, patience=4), True),
    "adam, plateau": (plan("adam", 0.05, "plateau", epochs=12, of=12), True),
}


@pytest.mark.parametrize("name", list(PLANS))
def test_what_goes_on_after_an_interrupt_comes_to_the_same(name: str, tmp_path: Path) -> None:
    how, noise = PLANS[name]
    weights, state = fit(how, noise=noise)
    for writes in (2, len(state.curve)):  # the last one before it goes back to the best epoch
        path = tmp_path / f"{writes}.npz"
        with pytest.raises(Killed):
            fit(how, Mortal(path, writes), noise)
        resumed, again = fit(how, Checkpoint(path), noise)
        assert [point.x for point in again.curve] == list(range(1, len(state.curve) + 1))
        assert (again.curve, again.reduced, again.best_epoch) == (state.curve, state.reduced, state.best_epoch)
        assert all(np.array_equal(one, other) for one, other in zip(resumed, weights, strict=True))


def test_only_what_is_left_is_fitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Killed):
        fit(plan(), Mortal(tmp_path / "fit.npz", 4))
    seen: list[int] = []
    start = Batches.start
    monkeypatch.setattr(Batches, "start", lambda self, epoch: (seen.append(epoch), start(self, epoch))[1])
    fit(plan(), Checkpoint(tmp_path / "fit.npz"))
    assert [epoch for epoch in seen if epoch] == [4, 5]


def test_a_fit_that_is_finished_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    how, checkpoint = plan(patience=2, epochs=30, of=30), Checkpoint(tmp_path / "fit.npz")
    weights, state = fit(how, checkpoint, noise=True)
    monkeypatch.setattr(keras.Sequential, "fit", None)
    again, found = fit(how, checkpoint, noise=True)
    assert found.curve == state.curve
    assert all(np.array_equal(one, other) for one, other in zip(again, weights, strict=True))


# When it slows down, and when it ends


def test_a_plateau_lowers_the_rate_and_a_final_fit_lowers_it_after_the_same_epochs() -> None:
    how = plan("adam", 0.05, "plateau", epochs=14, of=14)
    found, (fitted, held_out) = network(), batches(noise=True)
    state = descend(found, fitted, held_out, how)
    losses = [point.held_out_loss or 0 for point in state.curve]
    best, expected = 0, []
    for epoch, loss in enumerate(losses, 1):
        best = epoch if loss < min([np.inf, *losses[: epoch - 1]]) else best
        if epoch - max([best, *expected]) >= PLATEAU:
            expected.append(epoch)
    assert state.reduced == expected != []
    assert float(found.optimizer.learning_rate) == pytest.approx(0.05 * LOWERED ** len(expected), rel=1e-5)
    again = network()
    final = descend(again, batches(noise=True)[0], None, plan("adam", 0.05, "plateau", reduced=(2, 4)))
    assert final.reduced == [2, 4]
    assert float(again.optimizer.learning_rate) == pytest.approx(0.05 * LOWERED**2, rel=1e-5)


def test_a_loss_that_is_no_number_is_said_with_its_epoch(tmp_path: Path) -> None:
    found, (fitted, held_out) = network(), batches()
    inputs = fitted._inputs.copy()
    poisoned = Batches(inputs, fitted._labels, np.arange(40), np.ones(40), 8, seed=3)

    start = poisoned.start

    def from_the_third_epoch(epoch: int) -> None:
        inputs[5] = np.inf if epoch >= 2 else inputs[5]
        start(epoch)

    poisoned.start = from_the_third_epoch  # type: ignore[method-assign]
    with pytest.raises(InputError, match=r"^Candidate small: in epoch 3 the loss is no .* learning_rate \(now 0.01\)"):
        descend(found, poisoned, held_out, plan())


def test_weights_that_are_no_number_are_said_too() -> None:
    with pytest.raises(InputError, match=r"Candidate small: in epoch \d (a weight|the loss|the held-out loss) is no"):
        fit(plan("sgd", 1e30))
