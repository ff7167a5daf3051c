"""How many times faster than the usual recipe, on the same images?"""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import child, data
from benchmarks.figure import Figure
from diascope.dataset import Dataset

EPOCHS = 10  # of the usual recipe


def measure(
    folder: Path,
    dataset: Dataset,
    *,
    demo: bool,
    size: int,
    epochs: int,
    repeats: int,
    precisions: Sequence[str] = ("bf16", "f32"),
) -> list[Figure]:
    """Time both ways to a fitted classifier; the usual recipe gets the images that our checks have cleaned."""
    usual = _usual(folder, dataset, size, epochs)
    options = {"folder": str(folder), "demo": demo, "size": size, "seed": data.SEED}
    ours: dict[str, list[dict[str, Any]]] = {precision: [] for precision in precisions}
    for _ in range(repeats):
        for precision, taken in ours.items():
            taken.append(child.run("ours", precision=precision, **options))
    label = "usual recipe" + (f" (scaled from {epochs} epochs)" if epochs != EPOCHS else "")
    return [_compare(label, usual, precision, taken) for precision, taken in ours.items()]


def _usual(folder: Path, dataset: Dataset, size: int, epochs: int) -> dict[str, Any]:
    table = dataset.index()[["sample_id", "label", "split"]].to_numpy().tolist()
    classes = dataset.info.class_names
    usual = child.run(
        "recipe", folder=str(folder), table=table, classes=classes, size=size, epochs=epochs, seed=data.SEED
    )
    usual["seconds"]["fit"] *= EPOCHS / epochs
    usual["cpu_seconds"] *= EPOCHS / epochs
    return usual


def _compare(label: str, usual: dict[str, Any], asked: str, ours: list[dict[str, Any]]) -> Figure:
    """The clock stops when the model is fitted; importing the libraries, which both need, is left out of it."""
    phases = {phase: statistics.median(run["seconds"][phase] for run in ours) for phase in ours[0]["seconds"]}
    theirs, imports = sum(usual["seconds"].values()) - usual["seconds"]["import"], phases.pop("import")
    total = statistics.median(sum(run["seconds"].values()) - run["seconds"]["import"] for run in ours)
    cpu = usual["cpu_seconds"] / statistics.median(run["cpu_seconds"] for run in ours)
    whole = (theirs + usual["seconds"]["import"]) / (total + imports)
    precision, auroc = ours[0]["precision"], ours[0]["auroc"]
    better = "at least as good" if auroc >= usual["auroc"] else "WORSE"
    return Figure(
        name=f"VGG16 to a fitted head, {precision} in the engine" + (" (no bf16 here)" if asked != precision else ""),
        unit="s",
        bars={label: theirs, f"ours, {precision}": total} | {f"  {phase}": value for phase, value in phases.items()},
        ratio=theirs / total,
        target=30,
        bound="at least",
        notes=[
            f"in CPU seconds the ratio is {cpu:.1f}; with the import of all libraries it is {whole:.1f}",
            f"test AUROC {usual['auroc']:.3f} by the usual recipe, {auroc:.3f} by ours: {better}",
            f"ours: median of {len(ours)}; the usual recipe once",
        ],
    )
