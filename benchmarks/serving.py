"""Measure what is claimed about serving, side by side in one run: `python benchmarks/serving.py`."""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.figure import Figure
    from benchmarks.servers import Server

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "benchmarks" / "out" / "serving.png"
MODELS = {"MobileNetV2": 0.35, "VGG16": None}
RIVALS = ("ours", "container", "flask", "mlflow")
MANY = 16  # clients


@dataclass(frozen=True)
class Answered:
    """How a server answered some clients."""

    p50: float  # milliseconds
    p95: float
    per_second: float
    cpu: float  # of the server, milliseconds per request
    megabytes: float
    failed: dict[str, int]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure each model, print every figure as soon as it is there, and write the plot."""
    options = _parse(argv)
    sys.path.insert(0, str(ROOT))  # where this file is run as a script
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from benchmarks.figure import as_text, plot
    from benchmarks.training import machine

    title = machine()
    print(title, end="\n\n")
    figures = []
    with tempfile.TemporaryDirectory() as scratch:
        images = options.data or _drawn(Path(scratch, "images"))
        for model in options.models:
            for figure in _measure(model, _files(images), Path(scratch, model), options):
                print(as_text(figure), end="\n\n", flush=True)
                figures.append(figure)
    plot(figures, title, options.out)
    print(f"{sum(figure.met for figure in figures)} of {len(figures)} targets met; plot: {options.out}")
    return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    data = os.environ.get("DIASCOPE_TEST_DATA")
    default = Path(data, "chest-ct-4class") if data else None
    add("--models", nargs="+", choices=MODELS, default=list(MODELS), help="backbones (default: all)")
    add("--rivals", nargs="+", choices=RIVALS, default=list(RIVALS), help="who else is measured (default: all)")
    add("--data", type=Path, default=default, metavar="FOLDER", help="PNG and JPEG files (default: drawn images)")
    add("--seconds", type=float, default=10, help="of each measurement")
    add("--soak", type=float, default=0, metavar="MINUTES", help="of load at the end, for errors and memory")
    add("--size", type=int, default=224, help="side of the images that networks see, pixels")
    add("--out", type=Path, default=OUT, metavar="FILE", help="where the plot goes")
    return parser.parse_args(argv)


def _drawn(folder: Path) -> Path:
    from benchmarks import data

    data.write_demos(folder, 1)
    return folder


def _files(folder: Path) -> list[Path]:
    """Return the same images every time, from all over the folder."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
    return found[:: max(1, len(found) // 32)][:32]


def _measure(model: str, files: list[Path], scratch: Path, options: argparse.Namespace) -> Iterator["Figure"]:
    from benchmarks import child, contestants
    from diascope.classifier import Classifier

    child.run("network", root=str(scratch), backbone=model, alpha=MODELS[model], size=options.size)
    classifier, store, images = scratch / "classifier", scratch / "bentoml", scratch / "images"
    contestants.multipart(files, scratch / "multipart")
    contestants.tensors(files, Classifier.load(classifier), scratch / "tensors")
    images.mkdir()
    for number, path in enumerate(files):
        (images / f"{number:03}{path.suffix}").symlink_to(path.resolve())
    raw = child.run("raw", classifier=str(classifier), images=str(images), seconds=options.seconds)
    print(_line("raw", raw["p50"], raw["p95"], raw["per_second"], raw["cpu"], raw["megabytes"]))
    log = scratch / "server.log"
    starts: dict[str, Callable[[], AbstractContextManager[Server]]] = {
        "ours": lambda: contestants.ours(store, log),
        "container": lambda: contestants.container(store, scratch, log),
        "flask": lambda: contestants.flask(classifier, log),
        "mlflow": lambda: contestants.mlflow(scratch / "mlflow", log),
    }
    answered: dict[tuple[str, int], Answered] = {}
    for name in (each for each in RIVALS if each in options.rivals):
        with starts[name]() as server:
            requests = scratch / ("tensors" if name == "mlflow" else "multipart")
            for clients in (1, MANY):
                load(server, requests, clients, 2)
                answered[name, clients] = load(server, requests, clients, options.seconds)
            print(f"  {name}: ready in {server.startup:.1f} s, largest process {server.workers()[0]:.0f} MB resident")
    for (name, clients), each in answered.items():
        label = f"{name}, {clients} client{'s' * (clients > 1)}"
        print(_line(label, each.p50, each.p95, each.per_second, each.cpu, each.megabytes), each.failed or "")
    yield from _figures(model, raw, answered)
    if "ours" in options.rivals and len(_cores()) > 1:
        yield _on_one_core(model, classifier, images, store, scratch, options.seconds)
    if options.soak and "ours" in options.rivals:
        with contestants.ours(store, log) as server:
            yield _soak(model, server, scratch / "multipart", options.soak)


def load(server: "Server", requests: Path, clients: int, seconds: float) -> Answered:
    """Let some clients send requests for some seconds."""
    from benchmarks import child

    cpu = server.cpu_seconds()
    asked = {"host": "127.0.0.1", "port": server.port, "requests": str(requests)}
    seen: dict[str, Any] = child.run("load", clients=clients, seconds=seconds, **asked)
    took = seen["milliseconds"]
    return Answered(
        p50=statistics.median(took),
        p95=statistics.quantiles(took, n=20)[-1] if len(took) > 1 else took[0],
        per_second=len(took) / seen["seconds"],
        cpu=1000 * (server.cpu_seconds() - cpu) / len(took),
        megabytes=server.megabytes(),
        failed=seen["failed"],
    )


def _line(name: str, p50: float, p95: float, per_second: float, cpu: float, megabytes: float) -> str:
    return (
        f"  {name:<22} p50 {p50:8.2f} ms  p95 {p95:8.2f} ms  {per_second:7.1f} per s  "
        f"CPU {cpu:7.2f} ms  {megabytes:6.0f} MB"
    )


def _figures(model: str, raw: dict[str, float], answered: dict[tuple[str, int], Answered]) -> Iterator["Figure"]:
    from benchmarks.figure import Figure

    single = {"raw": raw["p50"]} | {name: each.p50 for (name, clients), each in answered.items() if clients == 1}
    busy = {name: each for (name, clients), each in answered.items() if clients == MANY}
    for name in ("ours", "container"):
        if name in single:
            bars = {"raw": raw["p50"], "allowed": 1.5 * raw["p50"] + 1, name: single[name]}
            ratio = single[name] / bars["allowed"]
            yield Figure(
                f"{model}: one client, p50 of {name} against 1.5 x raw + 1 ms", "ms", bars, ratio, 1, "at most"
            )
            bars = {"raw": raw["cpu"], name: busy[name].cpu}
            ratio = busy[name].cpu / raw["cpu"]
            yield Figure(f"{model}: {MANY} clients, CPU per request of {name}", "ms", bars, ratio, 1.6, "at most")
    for name, target in (("flask", 8.0), ("mlflow", 30.0)):
        if name in single and "ours" in single:
            bars = {"ours": single["ours"], name: single[name]}
            ratio = single[name] / single["ours"]
            notes = [f"{MANY} clients: {busy['ours'].per_second:.0f} against {busy[name].per_second:.0f} per second"]
            yield Figure(f"{model}: one client, p50 against {name}", "ms", bars, ratio, target, "at least", notes)


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def _on_one_core(model: str, classifier: Path, images: Path, store: Path, scratch: Path, seconds: float) -> "Figure":
    """Give the service one core and the load generator the others, and the raw path that one core too."""
    from benchmarks import child, contestants
    from benchmarks.figure import Figure

    cores = _cores()
    try:
        os.sched_setaffinity(0, cores[:1])
        raw = child.run("raw", classifier=str(classifier), images=str(images), seconds=seconds)
        with contestants.ours(store, scratch / "one-core.log") as server:
            os.sched_setaffinity(0, cores[1:])
            load(server, scratch / "multipart", MANY, 2)
            seen = load(server, scratch / "multipart", MANY, seconds)
    finally:
        os.sched_setaffinity(0, cores)
    bars = {"raw": raw["per_second"], "ours": seen.per_second}
    name = f"{model}: {MANY} clients on other cores, one core for the service"
    return Figure(name, "per s", bars, seen.per_second / raw["per_second"], 0.6, "at least")


def _soak(model: str, server: "Server", requests: Path, minutes: float) -> "Figure":
    """Keep the service busy; what it holds after the first minute and at the end is compared."""
    from benchmarks.figure import Figure

    first = load(server, requests, MANY, min(60, 30 * minutes))
    started, held, failed, answered = time.monotonic(), [first.megabytes], dict(first.failed), 0.0
    while time.monotonic() - started < 60 * minutes - min(60, 30 * minutes):
        seen = load(server, requests, MANY, min(30, 10 * minutes))
        held.append(seen.megabytes)
        failed = {key: failed.get(key, 0) + seen.failed.get(key, 0) for key in failed | seen.failed}
        answered += seen.per_second
    bars = {"after the first minute": held[0], "largest": max(held), "at the end": held[-1]}
    notes = [f"{minutes:g} minutes, {MANY} clients, failures: {failed or 'none'}"]
    ratio = float("inf") if failed else held[-1] / held[0]
    return Figure(f"{model}: memory under load without a failure", "MB", bars, ratio, 1.05, "at most", notes)


if __name__ == "__main__":
    sys.exit(main())
