"""Measure steps of training by precision, or with `--data FOLDER` what fine-tuning gains on it."""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NETWORKS = ("MobileNetV2", "EfficientNetV2B0", "DenseNet121", "ResNet50", "VGG16")
PRECISIONS = ("none", "bfloat16")
TOPS = {"top 10 layers": 10, "all layers": 1000}
MILD = {"rotation_degrees": 10, "zoom": 0.1, "shift": 0.05, "contrast": 0.2, "gamma": 0.2}
SETTINGS: dict[str, dict[str, Any]] = {
    "30 layers at 1e-4, 8 epochs": {"fine_tune_layers": 30, "epochs": 8, "learning_rate": 1e-4},
    "30 layers at 1e-3 and 0.8 of it per layer, 8 epochs, augmented": {
        "fine_tune_layers": 30,
        "epochs": 8,
        "learning_rate": 1e-3,
        "layer_decay": 0.8,
        "augmentation": MILD,
    },
    "60 layers at 3e-4 and 0.9 of it per layer, 15 epochs, augmented": {
        "fine_tune_layers": 60,
        "epochs": 15,
        "learning_rate": 3e-4,
        "layer_decay": 0.9,
        "augmentation": MILD,
    },
}


def main(argv: Sequence[str] | None = None) -> int:
    """Print one table in Markdown, row by row: of steps, or where there is a folder, of gains on its folds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=NETWORKS, metavar="NAME")
    parser.add_argument("--size", type=int, default=224, help="side of the images in pixels")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--data", metavar="FOLDER", help="class folders; its test split is not read")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=list(SETTINGS), metavar="NAME")
    options = parser.parse_args(argv)
    sys.path.insert(0, str(ROOT))  # where this file is run as a script
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from benchmarks.machine import machine
    from benchmarks.scaling import table

    print(machine(), flush=True)
    if options.data:
        columns: tuple[str, ...] = ("settings", "n", "frozen", "fine-tuned", "kept", "minutes")
        table(f"Macro AUROC over {options.folds} folds of the training images", columns, _gains(options))
    else:
        columns = ("network", "trained", *(f"{name}, ms an image" for name in PRECISIONS), "ratio", "auto takes")
        table(f"A training step of {options.batch} images of {options.size} px", columns, _steps(options))
    return 0


def _steps(options: argparse.Namespace) -> Iterator[tuple[str, ...]]:
    from benchmarks import child

    for network in options.networks:
        for words, top in TOPS.items():
            asked = {"backbone": network, "top": top, "size": options.size, "batch": options.batch}
            answers = [child.run("descent_steps", precision=precision, **asked) for precision in PRECISIONS]
            times = [answer["milliseconds"] for answer in answers]
            yield network, words, *(f"{t:.1f}" for t in times), f"{times[1] / times[0]:.2f}", answers[0]["auto"]


def _gains(options: argparse.Namespace) -> Iterator[tuple[str, ...]]:
    from benchmarks import child

    for name in options.settings:
        answer = child.run("tuning_gain", folder=options.data, folds=options.folds, settings=SETTINGS[name])
        scores = f"{answer['frozen']:.3f}", f"{answer['tuned']:.3f}"
        yield name, str(answer["n"]), *scores, answer["kept"], f"{answer['seconds'] / 60:.1f}"


if __name__ == "__main__":
    sys.exit(main())
