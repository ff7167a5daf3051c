"""Measure what the README claims about training, side by side in one run: `python benchmarks/training.py`."""

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.figure import Figure

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "benchmarks" / "out" / "training.png"
PARTS = ("speedup", "overlap", "scale", "cached", "help")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the parts asked for, print every figure as soon as it is there, and write the plot."""
    options = _parse(argv)
    sys.path.insert(0, str(ROOT))  # where this file is run as a script
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from benchmarks.figure import as_text, plot

    title = machine()
    print(title, end="\n\n")
    figures = []
    with tempfile.TemporaryDirectory() as scratch:
        for figure in _figures(options, Path(scratch)):
            print(as_text(figure), end="\n\n", flush=True)
            figures.append(figure)
    plot(figures, title, options.out)
    print(f"{sum(figure.met for figure in figures)} of {len(figures)} targets met; plot: {options.out}")
    return 0


def machine() -> str:
    """Return what the figures depend on."""
    from importlib.metadata import version

    from diascope.engine import cpu_count

    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    values = {key.strip(): value.strip() for key, value in facts.items()}
    flags = values.get("flags", "").split()
    units = [name for name in ("avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    versions = ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras", "openvino", "zenml"))
    cpu = values.get("model name", platform.processor() or platform.machine())
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{cpu_count()} cores of {cpu} ({' '.join(units)}), {load}\n{versions}"


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("parts", nargs="*", metavar="PART", help=f"what to measure: {', '.join(PARTS)} (default: all)")
    data = os.environ.get("DIASCOPE_TEST_DATA")
    default = Path(data, "chest-ct-4class") if data else None
    add("--data", type=Path, default=default, metavar="FOLDER", help="images in class or split folders (default: demo)")
    add("--epochs", type=int, default=10, help="of the usual recipe; fewer are scaled to 10, and the output says so")
    add("--repeats", type=int, default=3, help="runs that a median is taken over")
    add("--size", type=int, default=224, help="side of the images that networks see, pixels")
    add("--out", type=Path, default=OUT, metavar="FILE", help="where the plot goes")
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
