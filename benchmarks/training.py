"""Measure what the README claims about training, side by side in one run: `python benchmarks/training.py`."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.figure import Figure

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("speedup", "overlap", "scale", "cached", "help")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the parts asked for, print every figure as soon as it is there, and write the plot."""
    sys.path.insert(0, str(ROOT))  # where this file is run as a script
    from benchmarks.start import measure

    return measure(_figures, _parse(argv))


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    from benchmarks.start import add_options

    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("parts", nargs="*", metavar="PART", help=f"what to measure: {', '.join(PARTS)} (default: all)")
    add("--epochs", type=int, default=10, help="of the usual recipe; fewer are scaled to 10, and the output says so")
    add("--repeats", type=int, default=3, help="runs that a median is taken over")
    add_options(parser, "training")
    options = parser.parse_args(argv)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"there is no part {min(unknown)!r}; the parts are {', '.join(PARTS)}")
    options.parts = options.parts or PARTS
    return options


def _figures(options: argparse.Namespace, scratch: Path) -> Iterator["Figure"]:
    from benchmarks import command_line, data, overlap, scale, speedup
    from benchmarks.export import export
    from benchmarks.ours import candidate

    if "help" in options.parts:
        yield command_line.measure_help(scratch)
    if "cached" in options.parts:
        yield command_line.measure_cached(scratch / "cached", repeats=options.repeats)
    folder, demo = options.data or scratch / "demo", options.data is None
    if demo and {"speedup", "overlap"} & set(options.parts):
        data.write_demos(folder, 1)
    if {"speedup", "overlap"} & set(options.parts):
        dataset = data.store(folder, scratch / "dataset", demo)
    if "overlap" in options.parts:
        for name, alpha, images in (("VGG16", None, 128), ("MobileNetV2", 0.35, 1024)):
            backbone = export(candidate(name, options.size, alpha), scratch)
            yield overlap.measure(backbone, dataset, images=images, repeats=options.repeats, target=0.85)
    if "scale" in options.parts:
        yield from scale.measure(scratch, size=options.size)
    if "speedup" in options.parts:
        yield from speedup.measure(
            folder, dataset, demo=demo, size=options.size, epochs=options.epochs, repeats=options.repeats
        )


if __name__ == "__main__":
    sys.exit(main())
