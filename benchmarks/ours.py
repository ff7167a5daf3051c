"""What does this project's way cost? Images are stored, the backbone is exported and run once, a head is fitted."""

import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks import child, data
from diascope.calibration import softmax
from diascope.candidates import refit, train_candidate
from diascope.config import CandidateConfig, SelectionConfig
from diascope.dataset import Dataset
from diascope.features import Backbone, Features, FeatureSpec, extract_features, write_backbone
from diascope.groups import similarity_groups
from diascope.heads import Head
from diascope.metrics import macro_auroc
from diascope.trained_candidate import TrainedCandidate


def candidate(backbone: str, size: int | None = None, alpha: float | None = None) -> CandidateConfig:
    """Return a candidate with random weights and otherwise default settings."""
    sizes = [size] if size else []
    return CandidateConfig(name="ours", backbone=backbone, weights="none", alpha=alpha, image_sizes=sizes)


def compare_folds(
    config: CandidateConfig, backbone: Backbone, dataset: Dataset, features: Features, root: Path
) -> tuple[dict[str, str], TrainedCandidate]:
    """Cross-validate over groups of similar images; returns the groups and what did best."""
    index = dataset.index().set_index("sample_id").loc[features.sample_ids]
    names = index["group"].astype(str).tolist()
    if dataset.info.grouping == "similarity":
        names = [str(group) for group in similarity_groups(features.appearance(), seed=data.SEED)]
    groups = dict(zip(features.sample_ids, names, strict=True))
    return groups, train_candidate(config, backbone, dataset, features, groups, SelectionConfig(), data.SEED, root)


class Laps:
    """A clock that is told the name of each phase when the phase is over."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def __call__(self, phase: str) -> None:
        now = time.perf_counter()
        self.seconds[phase], self._since = now - self._since, now


def measure_auroc(head: Head, backbone: Backbone, dataset: Dataset, root: Path) -> float:
    """Return the macro AUROC of backbone and head on the test split."""
    features = extract_features(dataset, backbone, ["test"], root)
    labels = [dataset.info.class_names.index(label) for label in features.samples["label"]]
    return macro_auroc(np.array(labels), softmax(head.logits(features.array())))


def main() -> None:
    """Go from a folder of images to a fitted head, measure its AUROC and print seconds by phase."""
    asked = child.options()
    lap = Laps()
    with TemporaryDirectory() as scratch:
        root = Path(scratch)
        for name in ("backbone", "features", "head", "test"):
            (root / name).mkdir()
        import keras  # noqa: F401 (both ways need it: timed apart)
        import openvino  # noqa: F401

        lap("import")
        cpu = time.process_time()
        dataset = data.store(Path(asked["folder"]), root / "dataset", asked["demo"])
        lap("ingest")
        config = candidate("VGG16", asked["size"])
        backbone = write_backbone(FeatureSpec.of(config), root / "backbone", asked["seed"])
        if asked["precision"] == "f32":
            backbone.info = backbone.info.model_copy(update={"precision": "f32"})
        lap("export")
        features = extract_features(dataset, backbone, ["train", "validation"], root / "features")
        lap("features")
        groups, trained = compare_folds(config, backbone, dataset, features, root / "head")
        _, head = refit(trained, backbone, dataset, features, groups, data.SEED)
        lap("head")
        cpu = time.process_time() - cpu
        auroc = measure_auroc(head, backbone, dataset, root / "test")
    answer = {"seconds": lap.seconds, "cpu_seconds": cpu, "auroc": auroc, "precision": backbone.info.precision}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
