"""How much CPU time and memory does one part of a run take, for some number of images?"""

import json
import time
from collections.abc import Callable
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks import child, data
from benchmarks.ours import candidate

CLASSES = 3
DIMENSION = 1280  # of MobileNetV2's features
Work = Callable[[], dict[str, float]]


def draw(folder: Path, n: int, side: int) -> None:
    """Write grey PNG files of structure and noise, about 0.6 bytes a pixel as chest CT has, in class folders."""
    from PIL import Image

    rng = np.random.default_rng(data.SEED)
    for number in range(n):
        structure = Image.fromarray(rng.uniform(20, 220, (9, 9)).astype(np.float32)).resize((side, side))
        pixels = np.clip(np.asarray(structure) + rng.normal(0, 4, (side, side)), 0, 255).astype(np.uint8)
        target = folder / f"class{number % CLASSES}" / f"p{number // 5:07}_{number:07}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(target)


def ingest(root: Path, n: int, side: int) -> Work:
    """A folder becomes a dataset: decoded, checked, dealt, stored."""
    from diascope.config import ChecksConfig, DatasetConfig
    from diascope.dataset import ingest

    draw(root / "in", n, side)
    config = DatasetConfig(source=str(root / "in"), patient_pattern=r"(p\d+)_")

    def work() -> dict[str, float]:
        taken = ingest(config, ChecksConfig(), root / "in", root / "out", data.SEED)
        return {"bytes": sum(shard.bytes for shard in taken.shards) / n}

    return work


def features(root: Path, n: int, side: int, backbone: str, size: int) -> Work:
    """Decode images, and run a frozen network over them."""
    from diascope.features import FeatureSpec, extract_features, write_backbone

    draw(root / "in", n, side)
    dataset = data.store(root / "in", root / "dataset", demo=False)
    (root / "backbone").mkdir()
    (root / "features").mkdir()
    network = write_backbone(FeatureSpec.of(candidate(backbone, size)), root / "backbone", data.SEED)

    def work() -> dict[str, float]:
        extract_features(dataset, network, ("test",), root / "features")  # warm
        start = time.process_time()
        found = extract_features(dataset, network, ("train", "validation"), root / "features")
        spent = time.process_time() - start
        return {"image": spent / len(found.sample_ids), "gigamacs": network.info.gigamacs}

    return work


def descent(root: Path, n: int, backbone: str, size: int) -> Work:
    """Train a small network whole, or the last 20 layers of another."""
    from diascope.config import CandidateConfig
    from diascope.features import FeatureSpec, build_network
    from diascope.gradient import fit_network
    from diascope.rows import Rows

    whole = backbone == "compact_cnn"
    pixels = np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)

    def spent(epochs: int) -> float:
        options: dict[str, Any] = {"weights": "none", "image_sizes": [size], "epochs": epochs, "early_stopping": 0}
        config = CandidateConfig(name="one", backbone=backbone, fine_tune_layers=0 if whole else 20, **options)
        network, _ = build_network(FeatureSpec.of(config), data.SEED)
        start = time.process_time()
        fit_network(network, pixels, _labels(n), CLASSES, Rows(np.arange(n)), config, data.SEED)
        return time.process_time() - start

    return lambda: {"image": (spent(5) - spent(1)) / 4 / n}


def index(root: Path, n: int) -> Work:
    """Know all images of a dataset, and what candidates may see of them."""
    from diascope.contents import INDEX_COLUMNS, read_contents

    writer = get_context("spawn").Process(target=_write_contents, args=(root, n))  # its memory is not counted here
    writer.start()
    writer.join()

    def work() -> dict[str, float]:
        found = read_contents(root, [], INDEX_COLUMNS).to_pandas()
        groups = dict(zip(found["sample_id"].tolist(), found["group"].tolist(), strict=True))
        found["sample_id"].map(groups).to_numpy(str)
        return {"bytes": len(json.dumps(groups)) / n}

    return work


def _write_contents(root: Path, n: int) -> None:
    import pyarrow as pa

    from diascope.contents import INDEX_COLUMNS, SCHEMA, Shard, write_contents

    columns: dict[str, list[Any]] = {
        "sample_id": [f"class{i % CLASSES}/p{i // 5:07}_{i:07}.png" for i in range(n)],
        "label": [f"class{i % CLASSES}" for i in range(n)],
        "split": ["train"] * n,
        "group": [f"p{i // 5:07}" for i in range(n)],
        "sha256": [sha256(str(i).encode()).hexdigest() for i in range(n)],
    }
    columns |= {name: [128] * n for name in ("width", "height", "phash")} | {"mode": ["L"] * n}
    schema = pa.schema([SCHEMA.field(name) for name in INDEX_COLUMNS])
    table = pa.Table.from_pydict(columns, schema).append_column("row_group", pa.array([0] * n, pa.int32()))
    write_contents(root, [(Shard(name="data-00000.parquet", rows=n, bytes=0, sha256="0", splits=["train"]), table)])


def twins(root: Path, n: int) -> Work:
    """Near twins by perceptual hashes."""
    from diascope.groups import near_duplicate_groups

    hashes = np.random.default_rng(0).integers(0, 2**63, n, dtype=np.uint64)
    return lambda: {"groups": len(set(near_duplicate_groups(hashes, 2).tolist()))}


def similar(root: Path, n: int) -> Work:
    """Groups of images with similar features."""
    from diascope.groups import similarity_groups

    found = _features(n)
    return lambda: {"groups": len(set(similarity_groups(found, seed=0).tolist()))}


def buckets(root: Path, n: int) -> Work:
    """The part of it that compares every image with every bucket, of which there are more for more images."""
    from sklearn.cluster import MiniBatchKMeans

    found, few, many = _features(n), 200, 1000
    means = {k: MiniBatchKMeans(k, n_init=1, max_iter=1, random_state=0).fit(found[: 2 * many]) for k in (few, many)}

    def spent(k: int) -> float:
        start = time.process_time()
        means[k].predict(found)
        return time.process_time() - start

    return lambda: {"comparison": (spent(many) - spent(few)) / (many - few) / n}


def folds(root: Path, n: int) -> Work:
    """Folds that keep groups of six images whole."""
    from diascope.splits import folds

    groups = np.char.add("g", (np.arange(n) // 6).astype(str))
    return lambda: {"folds": len(folds(_labels(n).astype(str), groups, 5, 0))}


def head(root: Path, n: int) -> Work:
    """One logistic head at eight weight decays."""
    from diascope.heads import WEIGHT_DECAYS, fit_logistic

    config, found = candidate("MobileNetV2"), _features(n)
    return lambda: {"heads": len(fit_logistic(found, _labels(n), CLASSES, WEIGHT_DECAYS, config))}


def intervals(root: Path, n: int) -> Work:
    """All figures of predictions with their intervals, 2,000 resamples."""
    from diascope.metrics import measure

    p = np.random.default_rng(0).dirichlet(np.ones(CLASSES), n)
    return lambda: {"auroc": measure(_labels(n), p, list("abc")).auroc.value or 0}


PARTS: dict[str, Callable[..., Work]] = {
    work.__name__: work for work in (ingest, features, descent, index, twins, similar, buckets, folds, head, intervals)
}


def main() -> None:
    """Prepare one part, do it, and print what it took: CPU seconds of all threads, seconds, megabytes at its peak."""
    asked = child.options()
    with TemporaryDirectory() as scratch:
        work = PARTS[asked.pop("part")](Path(scratch), **asked)
        before = child.peak_megabytes()
        start, cpu = time.perf_counter(), time.process_time()
        found = work()
        spent = {"cpu": time.process_time() - cpu, "seconds": time.perf_counter() - start}
    print(json.dumps(found | spent | {"megabytes": child.peak_megabytes(), "before": before}))


def _labels(n: int) -> np.ndarray:
    return np.arange(n) % CLASSES


def _features(n: int) -> np.ndarray:
    centres = np.random.default_rng(1).normal(size=(CLASSES, DIMENSION)).astype(np.float32)
    found = np.random.default_rng(0).standard_normal((n, DIMENSION), dtype=np.float32)
    found += 0.1 * centres[_labels(n)]
    return found


if __name__ == "__main__":
    main()
