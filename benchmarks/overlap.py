"""How much of the engine's own rate is left when images are read and decoded beside it?"""

import json
import time
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks import child
from benchmarks.figure import Figure, medians
from diascope.dataset import Dataset
from diascope.features import Backbone, decoded
from diascope.images import decode
from diascope.preparation import network_input


def measure(backbone: Path, dataset: Dataset, *, images: int, repeats: int, target: float) -> Figure:
    """Compare the rate from stored images with the rate on images in memory."""
    answer = child.run("overlap", backbone=str(backbone), dataset=str(dataset.root), images=images, repeats=repeats)
    rates, info = answer["rates"], Backbone(backbone).info
    decoding = rates.pop("decoding alone, one core")
    alpha = f" alpha {info.spec.alpha}" if info.spec.alpha else ""
    return Figure(
        name=f"{info.spec.backbone}{alpha} features, {info.size} px, {info.precision}",
        unit="images/s",
        bars=rates,
        ratio=rates["decoding overlapped"] / rates["engine alone"],
        target=target,
        bound="at least",
        notes=[f"one core decodes {decoding:.0f} images/s; medians of {repeats} over {answer['n']} images"],
    )


def main() -> None:
    """Print images per second of the engine alone, with decoding overlapped, and of decoding alone."""
    asked = child.options()
    dataset, backbone, n = Dataset(Path(asked["dataset"])), Backbone(Path(asked["backbone"])), asked["images"]
    size, engine = backbone.info.size, backbone.engine()
    encoded = [image for _, batch in dataset.images() for image in batch][:n]
    prepared = backbone.info.spec.preparation
    pixels = [network_input(decode(image), size, prepared) for image in encoded]

    def rate(images: Callable[[], Iterable[np.ndarray]]) -> float:
        start = time.perf_counter()
        return sum(1 for _ in engine.stream(images())) / (time.perf_counter() - start)

    def decoding() -> float:
        start = time.perf_counter()
        return sum(1 for image in encoded if network_input(decode(image), size, prepared).size) / (
            time.perf_counter() - start
        )

    runs = {
        "engine alone": lambda: rate(lambda: pixels),
        "decoding overlapped": lambda: rate(lambda: islice(decoded(dataset, (), backbone.info.spec), n)),
        "decoding alone, one core": decoding,
    }
    print(json.dumps({"rates": medians(asked["repeats"], runs), "n": len(pixels)}))


if __name__ == "__main__":
    main()
