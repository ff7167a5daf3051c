"""Does searching among feature sets pay, on images that the search has not seen?

Nested cross-validation: every way to choose a set sees the inner folds of what an outer fold fits, and its set is
measured on what the outer fold holds out. Groups stay whole in both. Nothing reads the test split.

    python benchmarks/search.py FOLDER [--seeds 3] [--ways additive,everything] [--json]
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks import data
from benchmarks.ways_to_choose import BESIDE, WAYS, Scores, View, truth_of
from diascope.backbones import load_backbone
from diascope.calibration import softmax
from diascope.config import CandidateConfig
from diascope.dataset import Dataset
from diascope.development import Development
from diascope.features import Backbone, Features, FeatureSpec, extract_features, write_backbone
from diascope.groups import merge_groups, similarity_groups
from diascope.heads import one_thread
from diascope.metrics import accuracy, macro_auroc
from diascope.part_costs import PartCosts
from diascope.splits import foldable_groups, folds
from diascope.taps import find_layers

SIZES, POOLING, ALPHA = [448, 224], ["avg", "max", "std"], 0.35
COLUMNS = ("auroc", "claimed", "accuracy", "gigamacs", "features", "seconds")


@dataclass(frozen=True)
class Row:
    """One way to choose, over all outer folds and seeds."""

    way: str
    auroc: float  # of held-out images that the choice had not seen, mean over outer folds
    pooled: float  # the same over all of them together, as the next
    accuracy: float
    claimed: float  # AUROC by which the sets were chosen
    gigamacs: float
    features: float
    seconds: float  # of one choice


def superset(dataset: Dataset, root: Path) -> tuple[Backbone, Features]:
    """Extract everything that any of the ways chooses from."""
    network = load_backbone("MobileNetV2", "imagenet", ALPHA, 0, data.SEED)
    layers = [*find_layers(network, SIZES[0], len(SIZES) * len(POOLING)), *BESIDE]
    wanted = {"backbone": "MobileNetV2", "alpha": ALPHA, "image_sizes": SIZES, "layers": layers, "pooling": POOLING}
    config = CandidateConfig.model_validate({"name": "all", **wanted})
    for name in ("backbone", "features"):
        (root / name).mkdir()
    backbone = write_backbone(FeatureSpec.of(config), root / "backbone", data.SEED)
    return backbone, extract_features(dataset, backbone, ["train", "validation"], root / "features")


def grouped(dataset: Dataset, features: Features) -> Development:
    """Return the development images with groups as a training run makes them."""
    index = dataset.index()
    index = index[index["split"] != "test"]
    names = index["group"].astype(str).tolist()
    if dataset.info.grouping == "similarity":
        alike = similarity_groups(features.appearance(), seed=data.SEED)
        twins, pixels = index["group"].factorize()[0], index["sha256"].factorize()[0]
        labels = index["label"].to_numpy(str)
        names = foldable_groups(labels, [merge_groups(alike, twins), twins, pixels], data.SEED).astype(str).tolist()
    return Development.of(dataset, dict(zip(index["sample_id"].tolist(), names, strict=True)))


def nested(development: Development, view: View, ways: list[str], seed: int) -> Iterator[Row]:
    """Yield what each way to choose reaches on one dealing of the images to outer folds."""
    labels = development.labels
    outer = folds(labels.astype(str), development.groups, 5, seed)
    inside = [Scores(view, development.part(fit), fit, seed) for fit, _ in outer]
    for way in ways:
        logits, claimed, taken = np.zeros((len(labels), labels.max() + 1)), [], []
        start = time.perf_counter()
        for scores, (fit, held_out) in zip(inside, outer, strict=True):
            found = WAYS[way](scores)
            logits[held_out] = scores.answers(found, truth_of(labels[fit]), held_out)
            claimed.append(scores.auroc(found))
            taken.append(found)
        chances = softmax(logits)
        yield Row(
            way,
            float(np.mean([macro_auroc(labels[held_out], chances[held_out]) for _, held_out in outer])),
            macro_auroc(labels, chances),
            accuracy(labels, chances),
            float(np.mean(claimed)),
            float(np.mean([view.costs.gigamacs(each.places) for each in taken])),
            float(np.mean([view.width(each) for each in taken])),
            (time.perf_counter() - start) / len(outer),
        )


def main() -> None:
    """Measure the ways on one folder of images and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3, help="dealings to outer folds (default: 3)")
    parser.add_argument("--ways", default=",".join(WAYS), help=f"of {', '.join(WAYS)}")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    asked = parser.parse_args()
    with TemporaryDirectory() as scratch, one_thread():
        root = Path(scratch)
        dataset = data.store(asked.folder, root / "dataset", demo=False)
        backbone, features = superset(dataset, root)
        development = grouped(dataset, features)
        view = View(np.asarray(features.array()), backbone.info.blocks, PartCosts.of(backbone))
        rows: dict[str, list[Row]] = {}
        for seed in range(data.SEED, data.SEED + asked.seeds):
            for row in nested(development, view, asked.ways.split(","), seed):
                rows.setdefault(row.way, []).append(row)
                print(f"{seed} {row}", file=sys.stderr)
    print(json.dumps({way: [asdict(row) for row in some] for way, some in rows.items()}) if asked.json else table(rows))


def table(rows: dict[str, list[Row]]) -> str:
    """Return the means over seeds as Markdown."""
    lines = [
        "| way | AUROC, nested | by which it chose | accuracy, nested | billion multiply-adds | features | s |",
        "|---|---|---|---|---|---|---|",
    ]
    for way, some in rows.items():
        mean = {name: float(np.mean([getattr(row, name) for row in some])) for name in COLUMNS}
        spread = float(np.std([row.auroc for row in some]))
        lines.append(
            f"| {way} | {mean['auroc']:.3f} ± {spread:.3f} | {mean['claimed']:.3f} | {mean['accuracy']:.3f} | "
            f"{mean['gigamacs']:.2f} | {mean['features']:,.0f} | {mean['seconds']:.1f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
