"""How do several devices fit one network together? (imports Keras: import this module late)

Every batch is parted among the devices, as large as it would be on one. The parts of a small batch differ in size, so
losses are summed over images and divided by their number in the whole batch: a mean of the devices' means would give
images of a smaller part more weight. BatchNorm takes its statistics over the whole batch too. Results are then those
of one device, but for rounding. Dropout and augmentation draw other random numbers than on one device.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import keras
import numpy as np
import tensorflow as tf

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]  # inputs, labels, weights


def devices() -> list[str]:
    """Return the devices that a network is trained on: every GPU, else what TensorFlow was told to make of the CPU."""
    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name for device in found]


@contextmanager
def shared(network: keras.Model) -> Iterator[keras.Model]:
    """Give a network that all devices fit together, uncompiled; what it has learned goes into `network` at the end.

    On one device that is the network itself.
    """
    if len(devices()) < 2:
        yield network
        return
    order = random.getstate()  # of batches, by Keras; a copy draws from it too
    with _strategy(*devices()).scope():
        copy = keras.models.clone_model(network, clone_function=_for_devices, recursive=True)
        for layer, own in zip(copy._flatten_layers(), network._flatten_layers(), strict=True):
            layer.trainable = own.trainable  # no configuration says it of what layers hold inside
        mirrored = Mirrored(copy.inputs, copy.outputs)
        mirrored.set_weights(network.get_weights())
        random.setstate(order)
        yield mirrored
    network.set_weights(mirrored.get_weights())


@cache  # TensorFlow numbers groups of devices, and takes a second one of the same number for the first
def _strategy(*names: str) -> tf.distribute.Strategy:
    return tf.distribute.MirroredStrategy(names)


class Mirrored(keras.Model):
    """A network with a copy on every device, in whose loss each image of a batch counts the same wherever it is."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._mean = keras.metrics.Mean("loss")

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The mean loss over all images of an epoch."""
        return [self._mean]

    def fit(self, batches: keras.utils.PyDataset, *, validation_data: Any = None, **options: Any) -> Any:
        """Fit batches (inputs, labels, weights above zero); other arguments as for any Keras model."""
        n = self.distribute_strategy.num_replicas_in_sync
        held_out = Parted(validation_data, n) if validation_data is not None else None
        return super().fit(Parted(batches, n), validation_data=held_out, **options)

    def train_step(self, data: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Take one step along the gradient, which the optimizer sums over devices."""
        inputs, labels, weights = data
        n = tf.reduce_sum(_is_image(weights))
        n = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, n)
        with tf.GradientTape() as tape:
            losses = self._loss_of_each(inputs, labels, weights, training=True)
            share = self.optimizer.scale_loss(tf.reduce_sum(losses) / n)
        slopes = tape.gradient(share, self.trainable_weights)
        self.optimizer.apply_gradients(zip(slopes, self.trainable_weights, strict=True))
        return self._mean_with(losses, weights)

    def test_step(self, data: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Measure the loss alone."""
        return self._mean_with(self._loss_of_each(*data, training=False), data[2])

    def _loss_of_each(self, inputs: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor, training: bool) -> tf.Tensor:
        logits = self(inputs, training=training)
        return keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True) * weights

    def _mean_with(self, losses: tf.Tensor, weights: tf.Tensor) -> dict[str, tf.Tensor]:
        self._mean.update_state(losses, sample_weight=_is_image(weights))
        return {"loss": self._mean.result()}

    def _maybe_symbolic_build(self, **_: Any) -> None:
        # Keras would take shapes from the mean of the first batch's parts, and fails where these differ in size.
        with self.distribute_strategy.scope():
            self.optimizer.build(self.trainable_variables)


class Parted(keras.utils.PyDataset):
    """Batches of which every device gets a part: TensorFlow cuts them into parts of ceil(size / devices) rows.

    A batch too small for that is repeated, with weight zero: BatchNorm, and nothing else, sees the copies, and its
    statistics over whole copies are the same. An empty part would be an error in its layers.
    """

    def __init__(self, batches: keras.utils.PyDataset, n_devices: int) -> None:
        super().__init__()
        self._batches, self._n_devices = batches, n_devices

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, position: int) -> Batch:
        inputs, labels, weights = self._batches[position]
        rows = np.tile(np.arange(len(labels)), self._times(len(labels)))
        copies = np.arange(len(rows)) >= len(labels)
        return inputs[rows], labels[rows], np.where(copies, 0, weights[rows])

    def _times(self, n: int) -> int:
        """How often a batch of n rows is repeated so that the last device has some."""
        others = self._n_devices - 1
        return next(
            times for times in range(1, self._n_devices + 1) if others * -(-n * times // (others + 1)) < n * times
        )


def _is_image(weights: tf.Tensor) -> tf.Tensor:
    """1 for an image, 0 for a copy."""
    return tf.cast(weights > 0, tf.float32)


class _PerDevice(keras.random.SeedGenerator):
    """Seeds that differ from device to device: else dropout and augmentation would do the same on all of them."""

    def next(self, ordered: bool = True) -> tf.Tensor:
        seed = super().next(ordered)
        replica = tf.distribute.get_replica_context()
        device = replica.replica_id_in_sync_group if replica else 0
        return seed + tf.stack([tf.cast(device, seed.dtype), tf.zeros((), seed.dtype)])


def _for_devices(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Copy a layer; a BatchNorm that learns then takes its statistics over the batches of all devices."""
    config = layer.get_config()
    if isinstance(layer, keras.layers.BatchNormalization):
        config["synchronized"] = True
    copy = type(layer).from_config(config)
    for value in vars(copy).values():
        if isinstance(value, keras.random.SeedGenerator):
            value.__class__ = _PerDevice  # a layer that is built takes no other generator
    return copy
