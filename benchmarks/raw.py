"""What would a service cost that costs nothing? Decoding, resizing and the engine in one process."""

import json
import statistics
import time
from itertools import cycle, islice
from pathlib import Path

from benchmarks import child
from diascope.classifier import Classifier
from diascope.engine import Engine


def main() -> None:
    """Print milliseconds of one image alone, images per second on all cores, and CPU milliseconds per image."""
    asked = child.options()
    classifier = Classifier.load(asked["classifier"])
    files = [path.read_bytes() for path in sorted(Path(asked["images"]).iterdir())]
    alone = Engine(classifier.root / "model.xml", precision=classifier.info.precision, hint="LATENCY")

    def one(data: bytes) -> float:
        start = time.perf_counter()
        list(alone.stream([classifier.pixels(data)]))
        return 1000 * (time.perf_counter() - start)

    def seconds(count: int) -> tuple[float, float]:
        start, cpu = time.perf_counter(), time.process_time()
        for _ in classifier.stream(islice(cycle(files), count)):
            pass
        return time.perf_counter() - start, time.process_time() - cpu

    for data in files[:5]:
        one(data)
    until = time.perf_counter() + asked["seconds"]
    milliseconds = []
    for data in cycle(files):
        milliseconds.append(one(data))
        if time.perf_counter() > until:
            break
    warm, _ = seconds(2 * len(files))
    count = max(len(files), int(asked["seconds"] * 2 * len(files) / warm))
    wall, cpu = seconds(count)
    answer = {
        "p50": statistics.median(milliseconds),
        "p95": statistics.quantiles(milliseconds, n=20)[-1],
        "per_second": count / wall,
        "cpu": 1000 * cpu / count,
        "megabytes": child.peak_megabytes(),
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
