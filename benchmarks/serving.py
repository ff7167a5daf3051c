"""Measure what is claimed about serving, side by side in one run: `python benchmarks/serving.py`."""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.claims import Measured
    from benchmarks.clients import Answered
    from benchmarks.figure import Figure
    from benchmarks.prepared import Prepared

ROOT = Path(__file__).resolve().parent.parent
MODELS = {"MobileNetV2": 0.35, "VGG16": None}
CONTESTANTS = ("ours", "container", "flask", "mlflow")
VARIANTS = ("two_workers", "plain", "batching", "explain")  # how it might have been built or asked; where asked for
IMAGES = 32  # files that are sent in turn
WARM_UP = 2  # seconds


def main(argv: Sequence[str] | None = None) -> int:
    """Measure each model, print every figure as soon as it is there, and write the plot."""
    sys.path.insert(0, str(ROOT))  # where this file is run as a script
    from benchmarks.start import measure

    return measure(_figures, _parse(argv))


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    from benchmarks.start import add_options

    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--models", nargs="+", choices=MODELS, default=list(MODELS), help="backbones (default: all)")
    add("--contestants", nargs="+", choices=(*CONTESTANTS, *VARIANTS), default=CONTESTANTS, help="who is measured")
    add("--seconds", type=float, default=10, help="of each measurement")
    add("--soak", type=float, default=0, metavar="MINUTES", help="of load at the end, for errors and memory")
    add_options(parser, "serving")
    return parser.parse_args(argv)


def _figures(options: argparse.Namespace, scratch: Path) -> Iterator["Figure"]:
    from benchmarks import data
    from benchmarks.prepared import Prepared
    from diascope.docker import find_engine

    contestants = [name for name in (*CONTESTANTS, *VARIANTS) if name in options.contestants]
    if "container" in contestants and find_engine() is None:
        print("No Docker engine answers: the container is left out.")
        contestants.remove("container")
    images = options.data or scratch / "images"
    if options.data is None:
        data.write_demos(images, 1)
    for model in options.models:
        form = {"backbone": model, "alpha": MODELS[model], "size": options.size}
        prepared = Prepared.make(scratch / model, _chosen(images), **form)
        yield from _compare(model, prepared, contestants, options.seconds)
        if "ours" in contestants and len(_cores()) > 1:
            yield _on_one_core(model, prepared, options.seconds)
        if "ours" in contestants and options.soak:
            yield _soak(model, prepared, options.soak)


def _chosen(folder: Path) -> list[Path]:
    """The same images every time, from all over the folder."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
    return found[:: max(1, len(found) // IMAGES)][:IMAGES]


def _compare(model: str, prepared: "Prepared", contestants: list[str], seconds: float) -> Iterator["Figure"]:
    from benchmarks import claims
    from benchmarks.clients import as_line

    raw = _raw(prepared, seconds)
    print(as_line("raw", raw))
    measured = {name: _measure(name, prepared, seconds) for name in contestants}
    for name in contestants:
        if name in claims.FASTER:
            if "ours" in measured:
                yield claims.against_rival(model, measured["ours"], name, measured[name])
        elif name not in VARIANTS:
            yield from claims.against_raw(model, raw, name, measured[name])


def _raw(prepared: "Prepared", seconds: float) -> "Answered":
    from benchmarks import child
    from benchmarks.clients import Answered

    folders = {"classifier": str(prepared.classifier), "images": str(prepared.images)}
    return Answered(**child.run("raw", seconds=seconds, **folders), failed={})


def _measure(name: str, prepared: "Prepared", seconds: float) -> "Measured":
    from benchmarks.claims import MANY, Measured
    from benchmarks.clients import as_line, load
    from benchmarks.contestants import CONTESTANTS as START

    answered = {}
    with START[name](prepared) as server:
        for clients in (1, MANY):
            load(server, prepared.requests(name), clients, WARM_UP)
            answered[clients] = load(server, prepared.requests(name), clients, seconds)
            print(as_line(f"{name}, {clients} client{'s' * (clients > 1)}", answered[clients]), flush=True)
        print(f"  {name}: ready in {server.startup:.1f} s, largest process {server.workers()[0]:.0f} MB resident")
    return Measured(single=answered[1], busy=answered[MANY])


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def _on_one_core(model: str, prepared: "Prepared", seconds: float) -> "Figure":
    """Give the service one core and its clients the others, and the raw path that one core too."""
    from benchmarks import claims, contestants
    from benchmarks.clients import load

    cores = _cores()
    try:
        os.sched_setaffinity(0, cores[:1])
        raw = _raw(prepared, seconds)
        with contestants.ours(prepared) as server:
            os.sched_setaffinity(0, cores[1:])
            load(server, prepared.requests("ours"), claims.MANY, WARM_UP)
            busy = load(server, prepared.requests("ours"), claims.MANY, seconds)
    finally:
        os.sched_setaffinity(0, cores)
    return claims.on_one_core(model, raw, busy)


def _soak(model: str, prepared: "Prepared", minutes: float) -> "Figure":
    """Keep the service busy for some minutes; the first one is what the others are compared with."""
    from benchmarks import claims, contestants
    from benchmarks.clients import load

    with contestants.ours(prepared) as server:
        until = time.monotonic() + 60 * minutes
        rounds = [load(server, prepared.requests("ours"), claims.MANY, min(60, 30 * minutes))]
        while time.monotonic() < until:
            rounds.append(load(server, prepared.requests("ours"), claims.MANY, min(30, 10 * minutes)))
    return claims.under_load(model, minutes, rounds)


if __name__ == "__main__":
    sys.exit(main())
