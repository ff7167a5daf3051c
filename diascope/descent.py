"""How does one descent go from its first epoch to its last? (imports Keras: import this module late)"""

from collections.abc import Iterator
from dataclasses import dataclass

import keras
import numpy as np

from diascope.batches import Batches
from diascope.checkpoints import Checkpoint, State
from diascope.divergence import diverged
from diascope.rates import Rate, Steps, layer_shares, optimizer
from diascope.results import CurvePoint

PLATEAU = 3  # epochs without a better held-out loss, after which the learning rate is lowered
LOWERED = 0.2  # to this part of itself


@dataclass(frozen=True)
class Plan:
    """How one descent is made.

    epochs: at most. of: what the schedule is made for, where fewer are run. patience: epochs without a better held-out
    loss before it stops and goes back to the best; 0: the last epoch counts. reduced: the epochs after which the
    learning rate is lowered, where no held-out loss says so. name: of the candidate, for messages.
    """

    name: str
    steps: Steps
    epochs: int
    of: int
    patience: int = 0
    layer_decay: float = 1
    reduced: tuple[int, ...] = ()
    float16: bool = False


def descend(
    network: keras.Model, batches: Batches, held_out: Batches | None, plan: Plan, checkpoint: Checkpoint | None = None
) -> State:
    """Fit a network to batches, from where the checkpoint is.

    Raises
    ------
    InputError: the loss, or a weight, is no longer a number.
    """
    rate = Rate(plan.steps, plan.of, len(batches))
    steps = optimizer(plan.steps, rate, layer_shares(network, plan.layer_decay))
    if plan.float16:
        steps = keras.optimizers.LossScaleOptimizer(steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(steps, loss, jit_compile=False)
    steps.build(network.trainable_variables)
    course = Course(plan, rate, list(_changing(network)), steps, batches, checkpoint)
    course.take_up()
    if not course.stopped:
        network.fit(
            batches,
            validation_data=held_out,
            initial_epoch=course.state.epochs,
            epochs=plan.epochs,
            shuffle=False,
            callbacks=[course],
            verbose=0,
        )
    course.finish()
    return course.state


class Course(keras.callbacks.Callback):
    """Follows a descent epoch by epoch: what is kept, when it slows down, when it ends."""

    def __init__(
        self,
        plan: Plan,
        rate: Rate,
        changing: list[keras.Variable],
        steps: keras.optimizers.Optimizer,
        batches: Batches,
        checkpoint: Checkpoint | None,
    ) -> None:
        super().__init__()
        self.state = State()
        self._plan, self._rate, self._changing, self._steps = plan, rate, changing, steps
        self._batches, self._checkpoint = batches, checkpoint

    @property
    def stopped(self) -> bool:
        """Whether no epoch is left to run."""
        patience, state = self._plan.patience, self.state
        waited = bool(patience) and state.epochs - state.best_epoch >= patience
        return state.finished or waited or state.epochs >= self._plan.epochs

    def take_up(self) -> None:
        """Go back to where the checkpoint is, if there is one."""
        found = self._checkpoint.read() if self._checkpoint else None
        if found is None:
            return
        self.state = found
        _assign(self._changing, found.variables)
        _assign(self._steps.variables, found.optimizer)
        self._rate.factor.assign(LOWERED ** len(found.reduced))

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Shuffle anew."""
        self._batches.start(epoch)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Stop at once where the loss is no longer a number."""
        if not np.isfinite((logs or {})["loss"]):
            self._diverged("the loss is")

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Note the epoch and decide how to go on."""
        logs = logs or {}
        held_out = logs.get("val_loss")
        if held_out is not None and not np.isfinite(held_out):
            self._diverged("the held-out loss is")
        values = [variable.numpy() for variable in self._changing]
        if not all(np.isfinite(value).all() for value in values):
            self._diverged("a weight is")
        state = self.state
        state.epochs, state.variables = epoch + 1, values
        state.curve.append(CurvePoint(x=epoch + 1, loss=float(logs["loss"]), held_out_loss=held_out))
        self._compare(held_out, values)
        if self._lowers(epoch + 1, held_out):
            state.reduced.append(epoch + 1)
            self._rate.factor.assign(LOWERED ** len(state.reduced))
        self.model.stop_training = self.stopped
        self._write()

    def finish(self) -> None:
        """Go back to the best epoch where one is looked for."""
        if self.state.finished:
            return
        if self.state.best:
            _assign(self._changing, self.state.best)
            self.state.variables, self.state.best = self.state.best, []
        self.state.finished = True
        self._write()

    def _compare(self, held_out: float | None, values: list[np.ndarray]) -> None:
        state = self.state
        if held_out is None:
            state.best_epoch = state.epochs
            return
        earlier = [point.held_out_loss for point in state.curve[:-1] if point.held_out_loss is not None]
        if not earlier or held_out < min(earlier):
            state.best_epoch, state.best = state.epochs, values if self._plan.patience else []

    def _lowers(self, epoch: int, held_out: float | None) -> bool:
        if self._plan.steps.schedule != "plateau":
            return False
        if held_out is None:
            return epoch in self._plan.reduced
        still = epoch - max([self.state.best_epoch, *self.state.reduced])
        return still >= PLATEAU

    def _write(self) -> None:
        if self._checkpoint:
            self.state.optimizer = [variable.numpy() for variable in self._steps.variables]
            self._checkpoint.write(self.state)

    def _diverged(self, what: str) -> None:
        raise diverged(self._plan.name, self.state.epochs + 1, what, self._plan.steps.learning_rate)


def _changing(network: keras.Model) -> Iterator[keras.Variable]:
    """All that a fit changes: of layers that learn the weights and statistics, and of all the state of what is random.

    Dropout draws also where it stands among layers that are frozen.
    """
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            yield from _changing(layer)
        elif layer.trainable:
            yield from layer.variables
        else:
            still = {id(weight) for weight in layer.weights}
            yield from (variable for variable in layer.variables if id(variable) not in still)


def _assign(variables: list[keras.Variable], values: list[np.ndarray]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
