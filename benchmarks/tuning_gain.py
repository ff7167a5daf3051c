"""Does fine-tuning beat the frozen features on folds of the training images?"""

import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import child, data

NETWORK: dict[str, Any] = {"backbone": "MobileNetV2", "alpha": 0.35, "image_sizes": [224], "pooling": ["avg", "max"]}
PLAN: dict[str, Any] = {"early_stopping": 0, "warmup_epochs": 1}


def gain(folder: str, folds: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the macro AUROC of both over images that were held out; the test split is not read."""
    from diascope.candidates import train_candidate
    from diascope.config import CandidateConfig, SelectionConfig
    from diascope.features import FeatureSpec, extract_features, write_backbone
    from steps.group_images import group_images

    start = time.perf_counter()
    with TemporaryDirectory() as scratch:
        root = Path(scratch)
        dataset = data.store(Path(folder), root / "dataset", demo=False)
        candidate = CandidateConfig(name="tuned", **NETWORK, **PLAN, **settings)
        for name in ("backbone", "features", "trained"):
            (root / name).mkdir()
        network = write_backbone(FeatureSpec.of(candidate), root / "backbone", data.SEED)
        features = extract_features(dataset, network, ("train", "validation"), root / "features")
        groups = group_images.entrypoint(dataset, data.SEED, features)
        selection = SelectionConfig(folds=folds)
        trained = train_candidate(candidate, network, dataset, None, groups, selection, data.SEED, root / "trained")
    chosen = trained.result.chosen
    return {
        "n": trained.result.n,
        "frozen": chosen["frozen_auroc"],
        "tuned": chosen["fine_tuned_auroc"],
        "kept": "fine-tuned" if chosen["fine_tuned"] else "frozen",
        "seconds": time.perf_counter() - start,
    }


if __name__ == "__main__":
    print(json.dumps(gain(**child.options())))
