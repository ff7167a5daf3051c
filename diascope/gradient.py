"""How is a network fitted by gradient descent? (imports Keras: import this module late)"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from diascope.arrays import write_rows
from diascope.backbones import COMPACT_CNN
from diascope.config import Augmentation, CandidateConfig
from diascope.distribution import shared
from diascope.errors import InputError
from diascope.heads import Head, Standardiser, class_weights
from diascope.results import CurvePoint

tf.config.experimental.enable_op_determinism()


@dataclass(frozen=True)
class Rows:
    """Which images are fitted, which only decide when to stop, and for how long without them."""

    fitted: np.ndarray
    stopping: np.ndarray | None = None
    epochs: int | None = None


class Batches(keras.utils.PyDataset):
    """Rows of arrays (which may be mapped from disk) in batches, shuffled anew for every epoch from one seed."""

    def __init__(
        self,
        inputs: np.ndarray,
        labels: np.ndarray,
        rows: np.ndarray,
        config: CandidateConfig,
        n_classes: int,
        seed: int,
    ) -> None:
        super().__init__()
        self._inputs, self._labels, self._rows = inputs, labels, rows
        self._batch = config.batch_size
        self._weights = class_weights(labels[rows], n_classes, config).astype(np.float32)
        self._random = np.random.default_rng(seed)
        self._order = self._random.permutation(rows)

    def __len__(self) -> int:
        return -(-len(self._rows) // self._batch)

    def __getitem__(self, position: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        chosen = np.sort(self._order[position * self._batch : (position + 1) * self._batch])
        labels = self._labels[chosen]
        return self._inputs[chosen], labels, self._weights[labels]

    def on_epoch_end(self) -> None:
        self._order = self._random.permutation(self._rows)


def fit_mlp(
    features: np.ndarray, labels: np.ndarray, n_classes: int, rows: Rows, config: CandidateConfig, seed: int
) -> tuple[Head, list[CurvePoint]]:
    """Fit one hidden layer with dropout on some rows of features (n, d), labels (n,)."""
    keras.utils.set_random_seed(seed)
    standardise = Standardiser.of(features[rows.fitted])
    z = standardise(features).astype(np.float32)
    network = keras.Sequential(
        [
            keras.Input((z.shape[1],)),
            keras.layers.Dropout(config.dropout, seed=seed),
            keras.layers.Dense(config.hidden_units, activation="relu"),
            keras.layers.Dropout(config.dropout, seed=seed + 1),
            keras.layers.Dense(n_classes),
        ]
    )
    curve = _descend(network, z, labels, n_classes, rows, config, seed)
    (w1, b1), (w2, b2) = (layer.get_weights() for layer in network.layers if layer.get_weights())
    return Head([standardise.fold_into(w1, b1), (w2, b2)]), curve


def fit_network(
    network: keras.Model,
    pixels: np.ndarray,
    labels: np.ndarray,
    n_classes: int,
    rows: Rows,
    config: CandidateConfig,
    seed: int,
    head: Head | None = None,
) -> tuple[keras.Model, list[CurvePoint]]:
    """Train a whole compact network, or the top layers of a pretrained one, with its head.

    Parameters
    ----------
    network: uint8 image -> [features, …]; its weights are changed.
    pixels: uint8 (n, size, size, 3), may be mapped from disk.
    head: where to start from; without it the logits start at random.

    Returns the Keras model uint8 image -> logits and the course of training. BatchNorm layers of a pretrained network
    stay frozen: their statistics would follow a few small batches (Keras guide "Transfer learning & fine-tuning").
    """
    keras.utils.set_random_seed(seed)
    features = network.outputs[0]
    logits = head.attach(features) if head else keras.layers.Dense(n_classes, name="logits")(features)
    model = keras.Model(network.input, logits, name="classifier")
    backbone = network.get_layer("backbone")
    if config.backbone != COMPACT_CNN:
        freeze_below(backbone, config.fine_tune_layers)
    image = keras.Input(network.input.shape[1:], dtype="uint8")
    training_model = keras.Model(image, model(_augmented(image, config.augmentation, seed)))
    with shared(training_model) as fitted:
        curve = _descend(fitted, pixels, labels, n_classes, rows, config, seed)
    return model, curve


def freeze_below(backbone: keras.Model, top: int) -> None:
    """Leave only the last `top` layers of the backbone trainable, and of these no BatchNorm."""
    for position, layer in enumerate(backbone.layers):
        in_top = position >= len(backbone.layers) - top
        layer.trainable = in_top and not isinstance(layer, keras.layers.BatchNormalization)


def predict_logits(model: keras.Model, pixels: np.ndarray, rows: np.ndarray, batch: int = 32) -> np.ndarray:
    """Return logits (len(rows), n_classes) of some rows of pixels."""
    parts = [model.predict_on_batch(pixels[rows[i : i + batch]]) for i in range(0, len(rows), batch)]
    return np.concatenate(parts)


def store_pixels(path: Path, images: Iterable[np.ndarray], n: int, size: int) -> np.ndarray:
    """Write decoded images once, so that epochs neither decode again nor hold all images in memory."""
    write_rows(path, images, (n, size, size, 3), np.uint8)
    return np.load(path, mmap_mode="r")


def _augmented(image: keras.KerasTensor, augmentation: Augmentation, seed: int) -> keras.KerasTensor:
    options = augmentation
    flips = {(True, True): "horizontal_and_vertical", (True, False): "horizontal", (False, True): "vertical"}
    x = keras.layers.Rescaling(1.0)(image)
    if mode := flips.get((options.horizontal_flip, options.vertical_flip)):
        x = keras.layers.RandomFlip(mode, seed=seed)(x)
    if options.rotation_degrees:
        x = keras.layers.RandomRotation(options.rotation_degrees / 360, fill_mode="constant", seed=seed + 1)(x)
    if options.zoom:
        x = keras.layers.RandomZoom(options.zoom, fill_mode="constant", seed=seed + 2)(x)
    if options.shift:
        x = keras.layers.RandomTranslation(options.shift, options.shift, fill_mode="constant", seed=seed + 3)(x)
    if options.contrast:
        x = keras.layers.RandomContrast(options.contrast, value_range=(0, 255), seed=seed + 4)(x)
    return x


def _descend(
    network: keras.Model,
    inputs: np.ndarray,
    labels: np.ndarray,
    n_classes: int,
    rows: Rows,
    config: CandidateConfig,
    seed: int,
) -> list[CurvePoint]:
    """Run AdamW (Loshchilov and Hutter 2019) with a cosine decay; stop early and restore the best weights."""
    batches = Batches(inputs, labels, rows.fitted, config, n_classes, seed)
    decay = 1e-2 if config.weight_decay == "auto" else config.weight_decay
    rate = keras.optimizers.schedules.CosineDecay(config.learning_rate, config.epochs * len(batches))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.AdamW(rate, weight_decay=decay), loss, jit_compile=False)
    validation, callbacks = None, [keras.callbacks.TerminateOnNaN()]
    if rows.stopping is not None:
        validation = Batches(inputs, labels, rows.stopping, config, n_classes, seed)
        if config.early_stopping:
            stopping = keras.callbacks.EarlyStopping(
                "val_loss", patience=config.early_stopping, restore_best_weights=True
            )
            callbacks.append(stopping)
    epochs = rows.epochs or config.epochs
    history = network.fit(batches, validation_data=validation, epochs=epochs, callbacks=callbacks, verbose=0).history
    if not np.isfinite(history["loss"]).all():
        raise InputError(f"Candidate {config.name}: the loss is no longer a number; lower its learning_rate.")
    held_out = history.get("val_loss", [None] * len(history["loss"]))
    return [
        CurvePoint(x=epoch + 1, loss=float(loss), held_out_loss=None if other is None else float(other))
        for epoch, (loss, other) in enumerate(zip(history["loss"], held_out, strict=True))
    ]
