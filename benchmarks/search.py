"""Does searching among feature sets pay, on images that the search has not seen?

Nested cross-validation: every way to choose a set sees the inner folds of what an outer fold fits, and its set is
measured on what the outer fold holds out, which has no part in the scaling of features either. Groups stay whole in
both. Nothing reads the test split.

    python -m benchmarks.search FOLDER [--seeds 3] [--groups 20] [--ways additive,everything] [--json]
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
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


def grouped(dataset: Dataset, features: Features, n_groups: int | None = None) -> Development:
    """Return the development images with groups as a training run makes them, or fewer and coarser ones."""
    index = dataset.index()
    index = index[index["split"] != "test"]
    names = index["group"].astype(str).tolist()
    if dataset.info.grouping == "similarity":
        alike = similarity_groups(features.appearance(), seed=data.SEED, n_groups=n_groups)
        twins, pixels = index["group"].factorize()[0], index["sha256"].factorize()[0]
        labels = index["label"].to_numpy(str)
        names = foldable_groups(labels, [merge_groups(alike, twins), twins, pixels], data.SEED).astype(str).tolist()
    return Development.of(dataset, dict(zip(index["sample_id"].tolist(), names, strict=True)))


def nested(
    development: Development, view_of: Callable[[np.ndarray], View], ways: list[str], seed: int
) -> Iterator[Row]:
    """Yield what each way to choose reaches on one dealing of the images to outer folds.

    `view_of` gives the inner products as the rows of an outer fit scale them.
    """
    labels = development.labels
    outer = folds(labels.astype(str), development.groups, 5, seed)
    logits = {way: np.zeros((len(labels), labels.max() + 1)) for way in ways}
    of_folds: dict[str, list[tuple[float, ...]]] = {way: [] for way in ways}
    for fit, held_out in outer:
        view = view_of(fit)
        scores = Scores(view, development.part(fit), fit, seed)
        for way in ways:
            start = time.perf_counter()
            found = WAYS[way](scores)
            logits[way][held_out] = scores.answers(found, truth_of(labels[fit]), held_out)
            area = macro_auroc(labels[held_out], softmax(logits[way][held_out]))
            cost = view.costs.gigamacs(found.places), float(view.width(found))
            of_folds[way].append((area, scores.auroc(found), *cost, time.perf_counter() - start))
    for way in ways:
        auroc, claimed, gigamacs, features, seconds = map(statistics.fmean, zip(*of_folds[way], strict=True))
        chances = softmax(logits[way])
        pooled = macro_auroc(labels, chances)
        yield Row(way, auroc, pooled, accuracy(labels, chances), claimed, gigamacs, features, seconds)


def main() -> None:
    """Measure the ways on one folder of images and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3, help="dealings to outer folds (default: 3)")
    parser.add_argument("--groups", type=int, help="of similar images (default: as in a training run)")
    parser.add_argument("--ways", default=",".join(WAYS), help=f"of {', '.join(WAYS)}")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    asked = parser.parse_args()
    with TemporaryDirectory() as scratch, one_thread():
        root = Path(scratch)
        dataset = data.store(asked.folder, root / "dataset", demo=False)
        backbone, features = superset(dataset, root)
        development = grouped(dataset, features, asked.groups)
        view_of = partial(View, np.asarray(features.array()), backbone.info.blocks, PartCosts.of(backbone))
        rows: dict[str, list[Row]] = {}
        for seed in range(data.SEED, data.SEED + asked.seeds):
            for row in nested(development, view_of, asked.ways.split(","), seed):
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
