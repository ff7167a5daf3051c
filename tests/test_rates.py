"""How large are the steps of gradient descent?"""

import keras
import numpy as np
import pytest
from tiny import candidate, spec

from diascope.features import build_network
from diascope.gradient import freeze_below
from diascope.rates import Rate, Steps, layer_shares, optimizer


def rates(steps: Steps, epochs: int, per_epoch: int) -> list[float]:
    rate = Rate(steps, epochs, per_epoch)
    return [float(rate(step)) for step in range(epochs * per_epoch + 1)]


def test_the_rate_rises_in_a_line_and_falls_along_a_cosine() -> None:
    found = rates(Steps("adam", 0.1, schedule="cosine", warmup_epochs=2), epochs=6, per_epoch=4)
    np.testing.assert_allclose(found[:8], 0.1 * np.arange(1, 9) / 8, rtol=1e-6)
    np.testing.assert_allclose(found[8:], 0.05 * (1 + np.cos(np.pi * np.arange(17) / 16)), atol=1e-7)


def test_a_constant_rate_is_constant_after_its_rise() -> None:
    found = rates(Steps("adam", 0.1, warmup_epochs=1), epochs=3, per_epoch=2)
    np.testing.assert_allclose(found, [0.05, *[0.1] * 6], rtol=1e-6)


def test_weight_decay_of_auto_is_adamws_alone() -> None:
    decays = {name: Steps.of(candidate(optimizer=name)).weight_decay for name in ("adam", "adamw", "sgd", "rmsprop")}
    assert decays == {"adam": 0, "adamw": 0.01, "sgd": 0, "rmsprop": 0}
    assert Steps.of(candidate(optimizer="sgd", weight_decay=0.3)).weight_decay == 0.3


def line() -> keras.Model:
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.Dense(2)])
    for layer in network.layers:
        layer.set_weights([np.linspace(-1, 1, w.size).reshape(w.shape) for w in layer.get_weights()])
    return network


def after(network: keras.Model, steps: keras.optimizers.Optimizer) -> list[np.ndarray]:
    """Weights after some steps of a fit."""
    network.compile(steps, keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    x, y = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32), np.arange(8) % 2
    for _ in range(5):
        network.train_on_batch(x, y)
    return [np.asarray(weight) for weight in network.get_weights()]


KERAS = {
    "adam": keras.optimizers.Adam(0.05),
    "adamw": keras.optimizers.AdamW(0.05, weight_decay=0.5),
    "sgd": keras.optimizers.SGD(0.05, momentum=0.9),
    "rmsprop": keras.optimizers.RMSprop(0.05),
}


@pytest.mark.parametrize("name", list(KERAS))
def test_every_optimizer_does_what_keras_does(name: str) -> None:
    steps = Steps(name, 0.05, 0.5 if name == "adamw" else 0, 0.9 if name == "sgd" else 0)
    ours = after(line(), optimizer(steps, Rate(steps, 1, 5), [1.0] * 4))
    for one, other in zip(ours, after(line(), KERAS[name]), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_variable_moves_by_its_share() -> None:
    steps = Steps("sgd", 0.01)
    start, moves = line().get_weights(), []
    for shares in ([1.0] * 4, [0.0, 0.1, 1.0, 1.0]):
        found = after(line(), optimizer(steps, Rate(steps, 1, 5), shares))
        moves.append([np.abs(one - at).sum() for one, at in zip(found, start, strict=True)])
    moved = np.divide(moves[1], moves[0])
    assert moved[0] == 0
    assert moved[1:] == pytest.approx([0.1, 1, 1], rel=0.1)


def test_layers_further_down_learn_more_slowly() -> None:
    network, _ = build_network(spec(image_sizes=[32]), seed=3)
    body = network.get_layer("backbone")
    freeze_below(body, 8)  # two convolutions; BatchNorm stays frozen
    model = keras.Model(network.input, keras.layers.Dense(2, name="logits")(network.outputs[0]))
    names = [variable.path.split("/")[-2] for variable in model.trainable_variables]
    shares = dict(zip(names, layer_shares(model, 0.5), strict=True))
    convolutions = [layer.name for layer in body.layers if isinstance(layer, keras.layers.Conv2D)]
    assert shares == {"logits": 1, convolutions[-1]: 0.5, convolutions[-2]: 0.25}
    assert set(layer_shares(model, 1)) == {1}
