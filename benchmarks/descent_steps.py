"""How long does a step of gradient descent take in one precision?"""

import json
import time

import numpy as np

from benchmarks import child
from benchmarks.data import SEED

STEPS = 5
CLASSES = 4


def milliseconds(backbone: str, top: int, size: int, batch: int, precision: str) -> dict[str, object]:
    """Return the least time of a step, per image, and what `auto` would take for this network on this machine."""
    import keras

    from diascope.config import CandidateConfig
    from diascope.features import FeatureSpec, build_network
    from diascope.gradient import freeze_below
    from diascope.precision import computed_in, policy

    config = CandidateConfig(name="one", backbone=backbone, weights="none", image_sizes=[size], fine_tune_layers=top)
    network, _ = build_network(FeatureSpec.of(config), SEED)
    body = network.get_layer("backbone")
    freeze_below(body, top)
    model = keras.Model(network.input, keras.layers.Dense(CLASSES, name="logits")(network.outputs[0]))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(1e-4), loss, jit_compile=False)
    images = np.random.default_rng(SEED).integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
    labels, times = np.arange(batch) % CLASSES, []
    with computed_in(body, policy(precision, body)):
        for _ in range(1 + STEPS):  # the first compiles
            start = time.perf_counter()
            model.train_on_batch(images, labels)
            times.append(time.perf_counter() - start)
    return {"milliseconds": 1000 * min(times[1:]) / batch, "auto": policy("auto", body)}


if __name__ == "__main__":
    print(json.dumps(milliseconds(**child.options())))
