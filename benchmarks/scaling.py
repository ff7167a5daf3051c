"""Measure how a run grows, and reckon what many images take: `python benchmarks/scaling.py`, a few minutes."""

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.forecast import Rates, Sample

REPEATS = 2
ROOT = Path(__file__).resolve().parent.parent
SIDES = (128, 256, 512, 1024)
FORECAST_SIDE = 512
SIZES = {  # two numbers of images for each part; what it takes more for more images is what an image takes
    "ingest": (8_000, 24_000),
    "index": (50_000, 200_000),
    "twins": (200_000, 800_000),
    "similar": (6_500, 20_000),
    "folds": (20_000, 80_000),
    "head": (4_000, 12_000),
    "intervals": (4_000, 12_000),
}
NETWORKS = (("MobileNetV2", 224), ("MobileNetV2", 448), ("ResNet50V2", 224), ("DenseNet121", 224))
DESCENTS = (("compact_cnn", 64), ("compact_cnn", 128), ("MobileNetV2", 224))
FORECASTS = (10_000, 1_000_000, 10_000_000, 100_000_000)


def main(argv: Sequence[str] | None = None) -> int:
    """Print every table as soon as it is there, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the images: whether it runs, no figures")
    options = parser.parse_args(argv)
    sys.path.insert(0, str(ROOT))  # where this file is run as a script
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from benchmarks.forecast import Rates
    from benchmarks.machine import machine

    part = 10 if options.quick else 1
    print(machine(), flush=True)
    rates = _parts(part)
    image_bytes, by_side = _sides(part)
    networks = _networks(part)
    _descents(part)
    _remote(part)
    ingest = Rates(by_side[FORECAST_SIDE], rates["ingest"].memory)
    features = Rates(networks[NETWORKS[0]] + _decoding(by_side), 0)
    _forecasts(rates | {"ingest": ingest, "features": features}, image_bytes)
    return 0


def measured(part: str, n: int, **options: Any) -> "tuple[Sample, dict[str, Any]]":
    """Measure one part in processes of its own; the least CPU time counts, for a busy machine can only add to it."""
    from benchmarks import child
    from benchmarks.forecast import Sample

    answers = [child.run("growth", part=part, n=n, **options) for _ in range(REPEATS)]
    answer = min(answers, key=lambda each: each["cpu"])
    return Sample(n, answer["cpu"], answer["megabytes"]), answer


def table(title: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table in Markdown, row by row."""
    print(f"\n{title}\n\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}", flush=True)
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |", flush=True)


def _parts(part: int) -> "dict[str, Rates]":
    from benchmarks.forecast import Rates

    rates = {}

    def rows() -> Iterable[Sequence[object]]:
        for name, (few, many) in SIZES.items():
            options = {"side": 32} if name == "ingest" else {}
            less, more = (measured(name, n // part, **options)[0] for n in (few, many))
            rates[name] = Rates.of(less, more)
            spent = f"{less.cpu:.2f}", f"{more.cpu:.2f}", f"{1000 * rates[name].cpu:.3f}"
            held = f"{less.megabytes:.0f}", f"{more.megabytes:.0f}", f"{1e6 * rates[name].memory:.2f}"
            yield name, f"{less.n:,}", f"{more.n:,}", *spent, *held

    heads = ("part", "n", "more", "CPU s", "CPU s", "ms an image", "MB", "MB", "KB an image")
    table("Parts that see every image, at two sizes", heads, rows())
    _, answer = measured("buckets", 20_000 // part)
    rates["buckets"] = Rates.of_pairs(answer["comparison"])
    print(f"\nAn image against a bucket of similar images: {1e9 * answer['comparison']:.0f} ns of one core")
    return rates


def _sides(part: int) -> tuple[float, dict[int, float]]:
    found, sizes = {}, {}

    def rows() -> Iterable[Sequence[object]]:
        for side in SIDES:
            n = max(60, 1600 * 128 // side // part)
            (less, _), (more, answer) = (measured("ingest", count, side=side) for count in (n, 3 * n))
            found[side], sizes[side] = (more.cpu - less.cpu) / (2 * n), answer["bytes"]
            yield side, f"{n}, {3 * n}", f"{1000 * found[side]:.2f}", f"{answer['bytes'] / 1000:.0f}"

    table("Ingestion by the side of the images", ("side, pixels", "n", "CPU ms an image", "KB an image"), rows())
    return sizes[FORECAST_SIDE], found


def _decoding(by_side: dict[int, float]) -> float:
    """CPU seconds that features of larger files take more than those of the smallest; ingestion decodes them too."""
    return by_side[FORECAST_SIDE] - by_side[SIDES[0]]


def _networks(part: int) -> dict[tuple[str, int], float]:
    found = {}

    def rows() -> Iterable[Sequence[object]]:
        for backbone, size in NETWORKS:
            options = {"side": SIDES[0], "backbone": backbone, "size": size}
            _, answer = measured("features", max(100, 400 // part), **options)
            found[backbone, size] = answer["image"]
            yield backbone, size, f"{answer['gigamacs']:.2f}", f"{1000 * found[backbone, size]:.1f}"

    heads = ("network", "side", "billions of multiply-adds", "CPU ms an image")
    table(f"Features of files of {SIDES[0]} pixels, decoding included", heads, rows())
    return found


def _descents(part: int) -> None:
    def rows() -> Iterable[Sequence[object]]:
        for backbone, size in DESCENTS:
            whole = backbone == "compact_cnn"
            _, answer = measured("descent", max(32, (512 if whole else 96) // part), backbone=backbone, size=size)
            kind = "all of it" if whole else "top 20 layers"
            yield backbone, kind, size, f"{1000 * answer['image']:.1f}", f"{3 * size * size / 1000:.0f}"

    heads = ("network", "trained", "side", "CPU ms an image and epoch", "KB of pixels an image, on disk")
    table("Training by gradient descent on CPUs", heads, rows())


def _remote(part: int) -> None:
    from benchmarks import child

    answer = child.run("remote", n=600 // part, side=FORECAST_SIDE)
    rows = [
        (way, f"{found['first']:.2f}", f"{found['seconds']:.2f}", f"{found['disk']:.1f}")
        for way, found in answer.items()
        if isinstance(found, dict)
    ]
    title = f"Reading and decoding {answer['megabytes']:.0f} MB in {answer['shards']} shards from an S3 on this machine"
    table(title, ("way", "s to the first image", "s to the last", "most MB on disk"), rows)


def _forecasts(rates: "dict[str, Rates]", image_bytes: float) -> None:
    from benchmarks.forecast import needs
    from benchmarks.instances import PRICES_OF, STORAGE

    heads = ("step", "core hours", "memory GB", "disk GB", "machine", "hours", "dollars")
    for n in FORECASTS:
        total, hours = 0.0, 0.0
        rows = []
        for need in needs(rates, n, image_bytes):
            rented = need.rented()
            figures = f"{need.hours:,.2f}", f"{need.memory:,.1f}", f"{need.disk:,.1f}"
            if rented is None:
                rows.append((need.step, *figures, "**none is large or fast enough**", "", ""))
                continue
            instance, wall = rented
            total, hours = total + wall * instance.price, hours + wall
            rows.append((need.step, *figures, instance.name, f"{wall:,.2f}", f"{wall * instance.price:,.2f}"))
        stored = n * image_bytes / 1e9
        title = f"{n:,} images of {image_bytes / 1000:.0f} KB, one candidate (dollars: {PRICES_OF})"
        table(title, heads, rows)
        print(f"\nWhat fits: {hours:,.1f} hours and {total:,.2f} dollars, one step after the other. ", end="")
        print(f"S3 holds {stored:,.0f} GB for {stored * STORAGE:,.2f} dollars a month.")


if __name__ == "__main__":
    sys.exit(main())
