"""What does predicting a folder of images cost, beside the engine alone and decoding alone?"""

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks import child
from benchmarks.figure import medians
from diascope.classifier import Classifier
from diascope.engine import ahead
from diascope.images import MAX_PIXELS, decode
from diascope.inference import predict_all
from diascope.inference_images import Item, LocalImages
from diascope.listing import list_files


def main() -> None:
    """Print images per second and CPU milliseconds of the engine, of decoding and of a whole batch, on all cores."""
    asked = child.options()
    classifier, folder = Classifier.load(asked["classifier"]), Path(asked["images"])
    names = ["/".join(parts) for parts in list_files(folder).files]
    images = LocalImages(folder, [names[i * len(names) // asked["n"]] for i in range(min(asked["n"], len(names)))])

    def look(item: Item) -> np.ndarray:
        return classifier.view(decode(images.read(item, MAX_PIXELS), name=item.name))

    pixels = list(ahead(look, images.items()))

    spent: dict[str, list[float]] = {}

    def rate(name: str, work: Callable[[], int]) -> Callable[[], float]:
        def measured() -> float:
            start, cpu = time.perf_counter(), time.process_time()
            n = work()
            spent.setdefault(name, []).append(1000 * (time.process_time() - cpu) / n)
            return n / (time.perf_counter() - start)

        return measured

    def batch() -> int:
        with TemporaryDirectory() as scratch:
            table, kept = Path(scratch, "table.parquet"), Path(scratch, "kept")
            return predict_all(classifier, images, table, kept, model="benchmark", version=1, max_pixels=MAX_PIXELS).n

    runs = {
        "engine": rate("engine", lambda: sum(1 for _ in classifier.run(pixels))),
        "decoding": rate("decoding", lambda: sum(1 for _ in ahead(look, images.items()))),
        "batch": rate("batch", batch),
    }
    for run in runs.values():
        run()
    answer = {
        "rates": medians(asked["repeats"], runs),
        "milliseconds": {name: statistics.median(values[1:]) for name, values in spent.items()},  # of CPU
        "n": len(pixels),
        "precision": classifier.info.precision,
        "megabytes": child.peak_megabytes(),
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
