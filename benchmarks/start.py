"""What do all benchmarks that end in a plot ask on the command line, and how do they run?"""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.figure import Figure, publish
from benchmarks.machine import machine

OUT = Path(__file__).resolve().parent / "out"
Figures = Callable[[argparse.Namespace, Path], Iterator[Figure]]


def add_options(parser: argparse.ArgumentParser, name: str) -> None:
    """Let the command line say which images are used, how large networks see them, and where the plot goes."""
    data = os.environ.get("DIASCOPE_TEST_DATA")
    default = Path(data, "chest-ct-4class") if data else None
    add = parser.add_argument
    add("--data", type=_folder, default=default, metavar="FOLDER", help="of class or split folders (default: demo)")
    add("--size", type=int, default=224, help="side of the images that networks see, pixels")
    add("--out", type=Path, default=OUT / f"{name}.png", metavar="FILE", help="where the plot goes")


def _folder(text: str) -> Path:
    if not os.path.isdir(text):
        raise argparse.ArgumentTypeError(f"there is no folder {text!r}")
    return Path(text)


def measure(figures: Figures, options: argparse.Namespace) -> int:
    """Print every figure as soon as it is there, and write the plot; gives the exit status."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory() as scratch:
        publish(figures(options, Path(scratch)), machine(), options.out)
    return 0
