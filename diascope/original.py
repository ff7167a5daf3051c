"""How does a tutorial train a network? (imports Keras: import this module late)"""

import keras
import numpy as np

from diascope.augmentation import augmented
from diascope.batches import Batches
from diascope.checkpoints import Checkpoint, State
from diascope.config import CandidateConfig
from diascope.descent import Plan, descend
from diascope.descent_settings import Original
from diascope.distribution import shared
from diascope.gradient import freeze_below
from diascope.heads import Head
from diascope.rates import Steps
from diascope.rows import Rows

ADAMW_DECAY = 4e-3  # Keras's, where nothing is said


def fit_original(
    network: keras.Model,
    pixels: np.ndarray,
    labels: np.ndarray,
    n_classes: int,
    rows: Rows,
    candidate: CandidateConfig,
    seed: int,
    checkpoint: Checkpoint | None = None,
) -> tuple[keras.Model, Head, State]:
    """Train a head of dense layers, and as much of the network below as is asked for, exactly as `original` says.

    network: uint8 image -> [features, …], changed where its layers are trained. pixels: uint8 (n, size, size, 3).
    Returns the Keras model uint8 image -> logits, its dense layers, and the course of training.
    """
    config = candidate.original
    assert config is not None
    keras.utils.set_random_seed(seed)
    model = keras.Model(network.input, _dense(network.outputs[0], config, n_classes, seed), name="classifier")
    backbone = network.get_layer("backbone")
    top = len(backbone.layers) if config.trained_layers == "all" else config.trained_layers
    freeze_below(backbone, top, batch_norm=True)
    image = keras.Input(network.input.shape[1:], dtype="uint8")
    training_model = keras.Model(image, model(augmented(image, config.augmentation, seed)))
    batches, held_out = (
        None if some is None else Batches(pixels, labels, some, np.ones(len(some)), config.batch_size, seed)
        for some in (rows.fitted, rows.stopping)
    )
    assert batches is not None
    steps = Steps(config.optimizer, config.learning_rate, ADAMW_DECAY if config.optimizer == "adamw" else 0)
    plan = Plan(candidate.name, steps, config.epochs, config.epochs)
    with shared(training_model) as fitted:
        state = descend(fitted, batches, held_out, plan, checkpoint)
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    return model, Head([tuple(layer.get_weights()) for layer in dense]), state


def _dense(features: keras.KerasTensor, config: Original, n_classes: int, seed: int) -> keras.KerasTensor:
    x = features
    for position, units in enumerate(config.dense):
        x = keras.layers.Dense(units, activation="relu", name=f"hidden_{position}")(x)
        x = keras.layers.Dropout(config.dropout, seed=seed + 100 + position)(x)
    if not config.dense:
        x = keras.layers.Dropout(config.dropout, seed=seed + 100)(x)
    return keras.layers.Dense(n_classes, name="logits")(x)
