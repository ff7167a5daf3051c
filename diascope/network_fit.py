"""For how many epochs is a network trained on pixels, and what does it leave?"""

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diascope.checkpoints import Checkpoint, Checkpoints, State, digest, discard_old
from diascope.comparison import Comparison
from diascope.descent_fit import kept_epoch
from diascope.development import Fold
from diascope.divergence import diverged
from diascope.errors import InputError
from diascope.familiarity import distances, some_rows
from diascope.fit import Fit
from diascope.heads import Head
from diascope.rows import Rows, weighed_rows

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Trained:
    """A network uint8 image -> [features, …], the same with its head up to the logits, that head, and the course."""

    network: "keras.Model"
    model: "keras.Model"
    head: Head
    state: State


class NetworkFit(Fit):
    """A network that is trained from scratch; what every way of training on pixels has in common."""

    def compare(self, pairs: list[Fold]) -> Comparison:
        """Return held-out logits, the number of epochs that does best, and distances to the networks trained."""
        from diascope.gradient import predict_logits

        views = self.candidate.test_time_augmentation
        logits, states, far = [], [], []
        with self._taken_up():
            for fit, held_out in pairs:
                rows = self._rows(fit, held_out)
                trained = self._train(rows)
                answers = predict_logits(trained.model, self.inputs, held_out, views=views)
                logits.append(self._numbers(answers, trained.state))
                far.append(self._distances(trained, rows.fitted, held_out))
                states.append(trained.state)
        rows_out = np.concatenate([held_out for _, held_out in pairs])
        curve = states[0].curve
        return Comparison(rows_out, np.concatenate(logits), self._chosen(states), "epoch", curve, np.concatenate(far))

    def final(self, chosen: dict[str, float]) -> tuple["keras.Model", Head]:
        """Fit all development images for as many epochs as were chosen."""
        with self._taken_up():
            trained = self._train(self._final_rows(chosen))
        return trained.network, trained.head

    def _rows(self, fit: np.ndarray, held_out: np.ndarray) -> Rows:
        """Return what is fitted and, where something is decided by its loss, what is set aside of it for that."""
        share = fit, held_out  # which are only watched
        if self.candidate.decides_by_loss:
            share = self.development.with_stopping_share(fit, self.seed)
        return weighed_rows(*share, self.development, self.candidate, self.seed)

    def _final_rows(self, chosen: dict[str, float]) -> Rows:
        every, epochs = np.arange(len(self.labels)), int(chosen["epochs"])
        reduced = tuple(int(epoch) for key, epoch in sorted(chosen.items()) if key.startswith(LOWERED))
        return weighed_rows(every, None, self.development, self.candidate, self.seed, epochs, reduced)

    def _train(self, rows: Rows) -> Trained:
        from diascope.gradient import fit_network

        network, head = self.backbone.network(), self._start(rows)
        checkpoints = self._checkpoint(rows, "head"), self._checkpoint(rows, "network")
        model, state = fit_network(
            network, self.inputs, self.labels, self.n_classes, rows, self.candidate, self.seed, head, checkpoints
        )
        weights = tuple(model.get_layer("logits").get_weights())
        return Trained(network, model, Head([weights], head.scaling if head else None), state)

    def _start(self, rows: Rows) -> Head | None:
        """The head that training starts from; None: one drawn at random."""
        return None

    def _chosen(self, states: list[State]) -> dict[str, float]:
        epochs = [kept_epoch(state.curve, self.candidate.early_stopping) for state in states]
        chosen = {"epochs": float(statistics.median_high(epochs))}
        for turn in range(max(len(state.reduced) for state in states)):
            after = [state.reduced[turn] for state in states if len(state.reduced) > turn]
            if 2 * len(after) >= len(states):  # the final fit has no held-out images that would say so
                chosen[f"{LOWERED}{turn + 1:02}"] = float(statistics.median_high(after))
        return chosen

    def _distances(self, trained: Trained, fitted: np.ndarray, held_out: np.ndarray) -> np.ndarray:
        """Return how far held-out images are from fitted ones to a network that has not learned from the former."""
        from diascope.gradient import predict_logits

        features = features_only(trained.network)
        known = fitted[some_rows(len(fitted), self.seed)]
        seen, new = (
            self._numbers(predict_logits(features, self.inputs, rows), trained.state) for rows in (known, held_out)
        )
        return distances(seen, new, self.backbone.info.averages)

    def _numbers(self, answers: np.ndarray, state: State) -> np.ndarray:
        """Return what a network answers; weights may be numbers still where that is none."""
        if not np.isfinite(answers).all():
            raise diverged(self.candidate.name, state.epochs, "what the network answers is", self._learning_rate)
        return answers

    @property
    def _learning_rate(self) -> float:
        return self.candidate.learning_rate

    @contextmanager
    def _taken_up(self) -> Iterator[None]:
        """Go on with fits that an interrupt left; forget them when their result, or that there is none, is known."""
        discard_old()
        try:
            yield
        except InputError:
            self._checkpoints.discard()
            raise
        self._checkpoints.discard()

    def _checkpoint(self, rows: Rows, phase: str) -> Checkpoint:
        nothing = np.empty(0)
        arrays = (rows.fitted, rows.stopping, rows.weights, rows.stopping_weights)
        differs = [nothing if array is None else array for array in arrays]
        return self._checkpoints.of(phase, *differs, rows.epochs, list(rows.reduced))

    @cached_property
    def _checkpoints(self) -> Checkpoints:
        import keras
        import tensorflow as tf

        from diascope.distribution import devices

        development = self.development
        return Checkpoints(
            self.candidate.model_dump(mode="json", exclude={"name"}),
            self.backbone.info.spec.model_dump(mode="json"),
            digest(self.backbone.network().get_weights()),
            self.fingerprint,
            development.sample_ids,
            development.labels,
            development.class_names,
            self.seed,
            [keras.__version__, tf.__version__, np.__version__, *devices()],
            digest(path.read_text() for path in sorted(Path(__file__).parent.glob("*.py"))),
        )


LOWERED = "rate_lowered_"  # how the epochs after which the learning rate falls are named among what was chosen


def features_only(network: "keras.Model") -> "keras.Model":
    """Return the part of a network [features, map, …] that ends in the features."""
    import keras

    return keras.Model(network.input, network.outputs[0])
