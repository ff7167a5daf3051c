"""How is a network fitted by gradient descent? (imports Keras: import this module late)"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from diascope.augmentation import augmented
from diascope.backbones import COMPACT_CNN
from diascope.batches import Batches
from diascope.checkpoints import Checkpoint, State
from diascope.config import CandidateConfig
from diascope.descent import Plan, descend
from diascope.distribution import shared
from diascope.heads import Head, Standardiser, class_weights
from diascope.precision import computed_in, policy
from diascope.rates import MOMENTUM, Steps
from diascope.results import CurvePoint
from diascope.rows import Rows
from diascope.views import viewed

tf.config.experimental.enable_op_determinism()


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
    batches, held_out = _batches(z, labels, n_classes, rows, config, seed)
    state = descend(network, batches, held_out, _plan(config, rows))
    (w1, b1), (w2, b2) = (layer.get_weights() for layer in network.layers if layer.get_weights())
    return Head([standardise.fold_into(w1, b1), (w2, b2)]), state.curve


def fit_network(
    network: keras.Model,
    pixels: np.ndarray,
    labels: np.ndarray,
    n_classes: int,
    rows: Rows,
    config: CandidateConfig,
    seed: int,
    head: Head | None = None,
    checkpoints: tuple[Checkpoint | None, Checkpoint | None] = (None, None),
) -> tuple[keras.Model, State]:
    """Train a whole compact network, or the top layers of a pretrained one, with its head.

    Parameters
    ----------
    network: uint8 image -> [features, …]; its weights are changed.
    pixels: uint8 (n, size, size, 3), may be mapped from disk.
    head: where to start from; without it the logits start at random.
    checkpoints: of the epochs in which the head alone is trained, and of those after.

    Returns the Keras model uint8 image -> logits and the course of training. BatchNorm layers of a pretrained network
    stay frozen: their statistics would follow a few small batches (Keras guide "Transfer learning & fine-tuning").
    """
    keras.utils.set_random_seed(seed)
    features = network.outputs[0]
    logits = head.attach(features) if head else keras.layers.Dense(n_classes, name="logits")(features)
    model = keras.Model(network.input, logits, name="classifier")
    backbone = network.get_layer("backbone")
    image = keras.Input(network.input.shape[1:], dtype="uint8")
    training_model = keras.Model(image, model(augmented(image, config.augmentation, seed)))
    batches, held_out = _batches(pixels, labels, n_classes, rows, config, seed)
    computed = policy(config.mixed_precision, backbone)
    float16 = computed == "mixed_float16"
    with computed_in(backbone, computed):
        if config.head_epochs and head:
            freeze_below(backbone, 0)
            with shared(training_model) as fitted:
                descend(fitted, batches, None, _head_plan(config, float16), checkpoints[0])
        if config.backbone != COMPACT_CNN:
            freeze_below(backbone, config.fine_tune_layers)
        with shared(training_model) as fitted:
            state = descend(fitted, batches, held_out, _plan(config, rows, float16), checkpoints[1])
    return model, state


def freeze_below(backbone: keras.Model, top: int, batch_norm: bool = False) -> None:
    """Leave only the last `top` layers of the backbone trainable, and of these no BatchNorm unless it is to learn."""
    for position, layer in enumerate(backbone.layers):
        in_top = position >= len(backbone.layers) - top
        layer.trainable = in_top
        for each in layer._flatten_layers():  # some of KerasHub's hold others
            if isinstance(each, keras.layers.BatchNormalization):
                each.trainable = in_top and batch_norm


def predict_logits(
    model: keras.Model, pixels: np.ndarray, rows: np.ndarray, batch: int = 32, views: Sequence[str] = ()
) -> np.ndarray:
    """Return logits (len(rows), n_classes) of some rows of pixels, the mean of those of the image and its views."""
    parts = []
    for start in range(0, len(rows), batch):
        images = pixels[rows[start : start + batch]]
        every = [images, *(np.ascontiguousarray(viewed(images, view)) for view in views)]
        parts.append(np.mean([model.predict_on_batch(each) for each in every], axis=0))
    return np.concatenate(parts)


def _batches(
    inputs: np.ndarray, labels: np.ndarray, n_classes: int, rows: Rows, config: CandidateConfig, seed: int
) -> tuple[Batches, Batches | None]:
    def of(some: np.ndarray, weights: np.ndarray | None) -> Batches:
        if weights is None:
            weights = class_weights(labels[some], n_classes, config)[labels[some]]
        return Batches(inputs, labels, some, weights, config.batch_size, seed)

    held_out = None if rows.stopping is None else of(rows.stopping, rows.stopping_weights)
    return of(rows.fitted, rows.weights), held_out


def _plan(config: CandidateConfig, rows: Rows, float16: bool = False) -> Plan:
    return Plan(
        name=config.name,
        steps=Steps.of(config),
        epochs=rows.epochs or config.epochs,
        of=config.epochs,
        patience=config.early_stopping if rows.stopping is not None else 0,
        layer_decay=config.layer_decay,
        reduced=rows.reduced,
        float16=float16,
    )


def _head_plan(config: CandidateConfig, float16: bool) -> Plan:
    steps = Steps(config.optimizer, config.head_learning_rate, momentum=MOMENTUM)
    return Plan(config.name, steps, config.head_epochs, config.head_epochs, float16=float16)
