"""What does one backbone cost, with random weights, in a process of its own?"""

import json
import time
from itertools import repeat
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks import child, data
from diascope.config import CandidateConfig
from diascope.engine import BF16_PARAMETERS, Engine, cpu_count, export, multiply_adds
from diascope.features import FeatureSpec, build_network

WINDOWS = 5


def main() -> None:
    """Print size, parameters, multiply-adds, input convention, and images per second."""
    import keras

    asked = child.options()
    config = CandidateConfig.model_validate({"name": "one", "weights": "none", "backbone": asked["backbone"]})
    spec = FeatureSpec.of(config)
    network, blocks = build_network(spec, data.SEED)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "features.xml"
        export(keras.Model(network.input, network.outputs[0]), path, ["features"])
        parameters = network.count_params() - 12  # without the input convention
        answer = {
            "size": spec.image_sizes[0],
            "features": blocks[-1].stop,
            "parameters": parameters,
            "gigamacs": multiply_adds(path),
            "convention": _convention(network),
            "rates": _rates(path, asked["seconds"], both=parameters >= BF16_PARAMETERS),
            "cores": cpu_count(),
        }
    print(json.dumps(answer))


def _convention(network: "keras.Model") -> list[list[float]]:  # type: ignore[name-defined]  # noqa: F821
    """Where black and white, red, green and blue, go."""
    matrix, offset = network.get_layer("input_convention").get_weights()
    return [offset.tolist(), (255 * matrix.reshape(3, 3).sum(axis=0) + offset).tolist()]


def _rates(path: Path, seconds: float, both: bool) -> dict[str, dict[str, float]]:
    return {precision: _rate(path, precision, seconds) for precision in (("f32", "bf16") if both else ("f32",))}


def _rate(path: Path, precision: str, seconds: float) -> dict[str, float]:
    """Images per second by the clock, in the best of some windows, and images per second of CPU time over all.

    On a machine that is busy with other work, the second is what counts: it is what the cores did for us.
    """
    engine = Engine(path, precision=precision)
    image = np.random.default_rng(data.SEED).integers(0, 256, (engine.size, engine.size, 3)).astype(np.uint8)

    def timed(n: int) -> tuple[float, float]:
        start, cpu = time.perf_counter(), time.process_time()
        for _ in engine.stream(repeat(image, n)):
            pass
        return time.perf_counter() - start, time.process_time() - cpu

    timed(cpu_count())
    n = max(2 * cpu_count(), int(2 * cpu_count() * seconds / WINDOWS / max(timed(2 * cpu_count())[0], 1e-3)))
    windows = [timed(n) for _ in range(WINDOWS)]
    wall = n / min(wall for wall, _ in windows)
    return {"wall": wall, "cpu": WINDOWS * n / sum(cpu for _, cpu in windows)}


if __name__ == "__main__":
    main()
