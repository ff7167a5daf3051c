"""How large are the steps of gradient descent? (imports Keras: import this module late)"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from diascope.config import CandidateConfig

ADAMW_DECAY = 1e-2
MOMENTUM = 0.9


@dataclass(frozen=True)
class Steps:
    """An optimizer and its learning rate."""

    optimizer: str
    learning_rate: float  # the highest
    weight_decay: float = 0
    momentum: float = 0  # of sgd
    schedule: str = "constant"
    warmup_epochs: int = 0

    @classmethod
    def of(cls, config: CandidateConfig) -> "Steps":
        """Return what a candidate says; a weight decay of `auto` is AdamW's own."""
        decay = ADAMW_DECAY if config.optimizer == "adamw" else 0.0
        return cls(
            optimizer=config.optimizer,
            learning_rate=config.learning_rate,
            weight_decay=decay if config.weight_decay == "auto" else config.weight_decay,
            momentum=MOMENTUM,
            schedule=config.schedule,
            warmup_epochs=config.warmup_epochs,
        )


class Rate(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of each step: a linear rise (Goyal et al. 2017), then level or along a cosine to 0.

    The cosine is that of Loshchilov and Hutter (SGDR, ICLR 2017) without restarts. `factor` lowers all that follows.
    """

    def __init__(self, steps: Steps, epochs: int, steps_per_epoch: int) -> None:
        super().__init__()
        self.peak = steps.learning_rate
        self.rising = steps.warmup_epochs * steps_per_epoch
        self.falling = epochs * steps_per_epoch - self.rising if steps.schedule == "cosine" else 0
        self.factor = keras.Variable(1.0, trainable=False, name="rate_factor")

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        rate = self.peak * self.factor
        if self.rising:
            rate = rate * ops.minimum(1.0, (step + 1) / self.rising)
        if self.falling:
            part = ops.clip((step - self.rising) / self.falling, 0.0, 1.0)
            rate = rate * 0.5 * (1 + ops.cos(math.pi * part))
        return rate

    def get_config(self) -> dict[str, Any]:
        return {}


def optimizer(steps: Steps, rate: Rate, shares: Sequence[float]) -> keras.optimizers.Optimizer:
    """Return the optimizer of a network whose trainable variables learn at these shares of the learning rate."""
    kinds: dict[str, type[keras.optimizers.Optimizer]] = {
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.Adam,  # AdamW (Loshchilov and Hutter 2019) is Adam with this weight decay
        "sgd": keras.optimizers.SGD,
        "rmsprop": keras.optimizers.RMSprop,
    }
    options = {"momentum": float(steps.momentum)} if steps.optimizer == "sgd" else {}
    return _with_shares(kinds[steps.optimizer])(rate, steps.weight_decay, tuple(shares), **options)


def layer_shares(network: keras.Model, decay: float) -> list[float]:
    """Return the share of the learning rate of each trainable variable of a network with a layer named `backbone`.

    The head learns at the whole rate, and each layer of the backbone at `decay` times that of the trained one above it
    (Clark et al., ELECTRA, ICLR 2020).
    """
    trained = [layer for layer in _backbone(network).layers if layer.trainable_variables] if decay < 1 else []
    depths = {id(variable): k for k, layer in enumerate(trained[::-1], 1) for variable in layer.trainable_variables}
    return [decay ** depths.get(id(variable), 0) for variable in network.trainable_variables]


def _backbone(network: keras.Model) -> keras.Model:
    inner = [layer for layer in network.layers if isinstance(layer, keras.Model)]
    return next((layer for layer in inner if layer.name == "backbone"), None) or _backbone(inner[0])


def _with_shares(kind: type[keras.optimizers.Optimizer]) -> Any:
    class WithShares(kind):
        """Decays and updates every variable at its share of the learning rate."""

        def __init__(self, rate: Rate, decay: float, shares: tuple[float, ...], **options: Any) -> None:
            super().__init__(rate, **options)
            self._decay, self._shares = decay, shares

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            rate = ops.cast(learning_rate, variable.dtype) * self._shares[self._get_variable_index(variable)]
            if self._decay:
                self.assign_sub(variable, variable * rate * self._decay)
            super().update_step(gradient, variable, rate)

    return WithShares
