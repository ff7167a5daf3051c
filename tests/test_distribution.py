"""How do several devices fit one network together?"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from diascope.distribution import Parted, devices, shared

ROOT = Path(__file__).resolve().parent.parent

# Two logical CPU devices, of which each fit is told to take one or both, in batches of 8. Of 29 images the last batch
# has 5, which cannot be parted evenly; of 25 it has one, which leaves nothing for the other; of 5 the first is uneven.
FITS = """
import json, sys
sys.path.insert(0, "tests")
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
import numpy as np
from tiny import candidate, compact, random_head, spec, stripes
from diascope import distribution
from diascope.features import build_network
from diascope.gradient import fit_network, predict_logits
from diascope.heads import BlockScaling, Head
from diascope.rows import Rows

every = distribution.devices()
images = np.stack([stripes(i % 2, i, 32, 32)[..., None].repeat(3, axis=2) for i in range(41)])
thirds = (np.arange(41) % 3 == 0).astype(np.int64)
noise = np.random.default_rng(1).integers(0, 2, 41)

def fit(n_devices, n_fitted, config, labels=thirds, head=None):
    distribution.devices = lambda: every[:n_devices]
    network, _ = build_network(spec(image_sizes=[32], dropout=config.dropout), seed=3)
    rows = Rows(np.arange(n_fitted), np.arange(33, 41))
    model, state = fit_network(network, images, labels, 2, rows, config, seed=3, head=head)
    layers = network.get_layer("backbone").layers
    return {
        "losses": [point.loss for point in state.curve],
        "held_out": [point.held_out_loss for point in state.curve],
        "logits": predict_logits(model, images, np.arange(33, 41)).tolist(),
        "weights": [float(np.abs(weight).sum()) for weight in network.get_weights()],
        "synchronized": [each.synchronized for each in layers if isinstance(each, keras.layers.BatchNormalization)],
        "mirrored": ["Mirrored" in type(weight.value).__name__ for weight in model.weights],
    }

class Block(keras.layers.Layer):  # holds others, as KerasHub's do
    def __init__(self, **options):
        super().__init__(**options)
        self.dense, self.norm = keras.layers.Dense(3), keras.layers.BatchNormalization()

    def call(self, x):
        return self.norm(self.dense(x))

def frozen_inside():
    image = keras.Input((4,))
    network = keras.Model(image, Block()(image))
    network.layers[1].norm.trainable = False
    distribution.devices = lambda: every
    with distribution.shared(network) as copy:
        return [[len(each.trainable_variables), each.layers[1].norm.trainable] for each in (network, copy)]

plain = dict(learning_rate=1e-3, batch_size=8, epochs=3, dropout=0, class_weights="balanced", early_stopping=0)
stopped = compact(**plain | dict(epochs=12, early_stopping=2, learning_rate=5e-3))
random = compact(**plain | dict(dropout=0.3, augmentation=dict(horizontal_flip=True, rotation_degrees=20, zoom=0.2)))
tuned = candidate(**plain | dict(fine_tune_layers=8, learning_rate=1e-2))
head = Head(random_head(96, 2).layers, BlockScaling(np.zeros(96, "f"), np.ones(96, "f"), [96]))
print(json.dumps({
    "devices": every,
    "one is left": [fit(n, 25, compact(**plain)) for n in (1, 2)],
    "stopped": [fit(n, 29, stopped, noise) for n in (1, 2)],
    "fine-tuned": [fit(n, 5, tuned, head=head) for n in (1, 2)],
    "random": [fit(2, 29, random) for _ in range(2)],
    "frozen inside": frozen_inside(),
}))
"""


@pytest.fixture(scope="module")
def fits() -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", FITS], capture_output=True, text=True, cwd=ROOT, check=False)
    assert not done.returncode, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert len(found["devices"]) == 2
    return found


@pytest.mark.parametrize("case", ["one is left", "stopped", "fine-tuned"])
def test_two_devices_learn_what_one_learns(fits: dict[str, Any], case: str) -> None:
    one, both = fits[case]
    for figures in ("losses", "held_out", "weights", "logits"):
        np.testing.assert_allclose(both[figures], one[figures], rtol=1e-3, atol=1e-4)
    assert one["losses"][-1] != pytest.approx(one["losses"][0], rel=0.05)  # there was something to learn


def test_what_comes_out_belongs_to_no_device(fits: dict[str, Any]) -> None:
    for case in ("one is left", "fine-tuned"):
        assert not any(any(fit["mirrored"]) or any(fit["synchronized"]) for fit in fits[case])


def test_several_devices_stop_early_and_go_back_to_the_best_epoch(fits: dict[str, Any]) -> None:
    for fit in fits["stopped"]:
        best = int(np.argmin(fit["held_out"]))
        assert len(fit["held_out"]) == best + 3 < 12
        labels = np.random.default_rng(1).integers(0, 2, 41)[33:]
        logits = np.array(fit["logits"])
        losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(8), labels]
        weight = _balanced(labels)
        assert (losses * weight).mean() == pytest.approx(fit["held_out"][best], abs=1e-3)


def _balanced(labels: np.ndarray) -> np.ndarray:
    return len(labels) / (2 * np.bincount(labels))[labels]


def test_batch_norm_inside_other_layers_stays_frozen_on_several_devices(fits: dict[str, Any]) -> None:
    assert fits["frozen inside"] == [[2, False]] * 2


def test_one_seed_gives_the_same_numbers_on_several_devices(fits: dict[str, Any]) -> None:
    one, same = fits["random"]
    assert one == same
    assert np.isfinite(one["losses"]).all()


# Batches in parts


class Numbers(keras.utils.PyDataset):
    """Batches of these sizes."""

    def __init__(self, *sizes: int) -> None:
        super().__init__()
        self.sizes = sizes

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, position: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        n = self.sizes[position]
        return np.arange(n) * 10, np.arange(n), np.full(n, 0.5, np.float32)


@pytest.mark.parametrize("n_devices", [2, 3, 4, 8])
def test_no_device_is_left_without_images(n_devices: int) -> None:
    for n in range(1, 70):
        inputs, labels, weights = Parted(Numbers(n), n_devices)[0]
        times, rest = divmod(len(labels), n)
        part = -(-len(labels) // n_devices)  # as TensorFlow cuts it
        assert rest == 0
        assert (n_devices - 1) * part < len(labels)
        assert times == 1 or n <= (n_devices - 1) ** 2
        assert np.array_equal(labels, np.tile(np.arange(n), times))
        assert np.array_equal(inputs, labels * 10)
        assert np.array_equal(weights, [0.5] * n + [0] * (len(labels) - n))
        assert weights.dtype == np.float32


def test_batches_in_parts_are_as_many() -> None:
    assert len(Parted(Numbers(8, 8, 3), 2)) == 3


def test_one_device_trains_the_network_itself() -> None:
    assert len(devices()) == 1
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    with shared(network) as fitted:
        assert fitted is network
