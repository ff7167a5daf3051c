"""Measure how near a batch comes to the engine's own rate: `python benchmarks/inference.py`."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.figure import Figure

ROOT = Path(__file__).resolve().parent.parent
MODELS = {"MobileNetV2": (0.35, 1000), "ResNet50V2": (None, 300), "VGG16": (None, 200)}  # width and images
ASKED = 0.8  # of what the engine allows


def main(argv: Sequence[str] | None = None) -> int:
    """Measure each model, print every figure as soon as it is there, and write the plot."""
    sys.path.insert(0, str(ROOT))  # where this file is run as a script
    from benchmarks.start import measure

    return measure(_figures, _parse(argv))


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    from benchmarks.start import add_options

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), help="backbones (default: all)")
    parser.add_argument("--repeats", type=int, default=3, help="runs that a median is taken over")
    add_options(parser, "inference")
    return parser.parse_args(argv)


def _figures(options: argparse.Namespace, scratch: Path) -> Iterator["Figure"]:
    from benchmarks import child, data

    images = options.data or scratch / "images"
    if options.data is None:
        data.write_demos(images, 3)
    for model in options.models:
        alpha, n = MODELS[model]
        root = scratch / model
        child.run("network", root=str(root), backbone=model, alpha=alpha, size=options.size)
        answer = child.run(
            "batch", classifier=str(root / "classifier"), images=str(images), n=n, repeats=options.repeats
        )
        yield from compare(f"{model}{f' {alpha}' if alpha else ''}, {answer['precision']}", answer)


def compare(model: str, answer: dict) -> Iterator["Figure"]:
    """Hold a batch to what its cores can do, and, where the engine takes the larger part of that, to the engine alone.

    Decoding and the engine share the cores: if one image costs the one 1/a seconds and the other 1/b, no more than
    1 / (1/a + 1/b) images a second can go through both.
    """
    from benchmarks.figure import Figure

    engine, decoding, batch = (answer["rates"][name] for name in ("engine", "decoding", "batch"))
    both = 1 / (1 / engine + 1 / decoding)
    bars = {"engine alone": engine, "decoding alone": decoding, "both on the same cores": both, "batch": batch}
    cpu = answer["milliseconds"]
    parts = cpu["engine"] + cpu["decoding"]
    notes = [
        f"CPU per image: engine {cpu['engine']:.2f} ms, decoding {cpu['decoding']:.2f} ms, "
        f"batch {cpu['batch']:.2f} ms, {parts / cpu['batch']:.2f} of it for the two",
        f"{answer['n']} images, peak memory {answer['megabytes']:.0f} MB with all of them decoded",
    ]
    yield Figure(
        f"{model}: a batch against what the cores can do", "images/s", bars, batch / both, ASKED, "at least", notes
    )
    if both >= ASKED * engine:
        bars = {"engine alone": engine, "batch": batch}
        yield Figure(f"{model}: a batch against the engine alone", "images/s", bars, batch / engine, ASKED, "at least")


if __name__ == "__main__":
    sys.exit(main())
