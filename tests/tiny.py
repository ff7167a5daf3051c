"""Datasets of a few drawn images and networks of a few layers, for the tests of the model path; built once."""

import atexit
import functools
import io
import itertools
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from diascope.classifier import Classifier, ClassifierInfo, Input, Training
from diascope.config import CandidateConfig
from diascope.dataset import SCHEMA, Dataset, DatasetInfo
from diascope.features import Backbone, BackboneInfo, FeatureBlock, Features, FeatureSpec, write_backbone
from diascope.heads import Head
from diascope.images import pixel_hash
from diascope.metrics import OperatingPoint
from diascope.trained_candidate import TrainedCandidate

CLASSES = ["across", "along"]  # which way the stripes of an image run


def scratch() -> Path:
    """An empty folder that is removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="diascope-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def stripes(label: int, seed: int, height: int = 40, width: int = 48) -> np.ndarray:
    """A grey image (height, width) of noisy stripes."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    wave = np.sin((columns if label else rows) * rng.uniform(0.9, 1.1) + rng.uniform(0, 6))
    return np.clip(120 + 70 * wave + rng.normal(0, 15, wave.shape), 0, 255).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    """Encoded pixels."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def row(name: str, label: str, split: str, data: bytes, group: str = "") -> dict[str, object]:
    """One image of `write_dataset`; the bytes may be broken on purpose."""
    try:
        digest = pixel_hash(Image.open(io.BytesIO(data)).convert("RGB"))
    except OSError:
        digest = "0" * 64
    known = {"sample_id": name, "image": data, "label": label, "split": split, "group": group or name}
    return {**known, "width": 48, "height": 40, "mode": "L", "sha256": digest, "phash": 0}


def write_dataset(root: Path, rows: Sequence[dict[str, object]], row_group: int = 7) -> Dataset:
    """A dataset with these rows, whatever is in them."""
    names = sorted({str(row["label"]) for row in rows})
    counts = {
        split: {name: sum((row["split"], row["label"]) == (split, name) for row in rows) for name in names}
        for split in ("train", "validation", "test")
    }
    info = DatasetInfo(
        source="drawn",
        layout="class_folders",
        class_names=names,
        grouping="similarity",
        counts=counts,
        fingerprint="f" * 64,
        n_found=len(rows),
        findings=[],
        splits_made=[],
        notices=[],
    )
    pq.write_table(pa.Table.from_pylist(list(rows), SCHEMA), root / "data-00000.parquet", row_group_size=row_group)
    (root / "dataset.json").write_text(info.model_dump_json())
    return Dataset(root)


@functools.cache
def striped() -> Dataset:
    """24 images to train on, 10 for validation and 12 for testing, in pairs that belong together."""
    rows = []
    for split, n in {"train": 24, "validation": 10, "test": 12}.items():
        for i in range(n):
            label = i // 2 % 2
            data = png(stripes(label, seed=len(rows)))
            rows.append(row(f"{split}/{i:02}.png", CLASSES[label], split, data, f"{split}{i // 2}"))
    return write_dataset(scratch(), rows)


def groups(dataset: Dataset) -> dict[str, str]:
    """The group of every image that candidates may see."""
    index = dataset.index()
    index = index[index["split"] != "test"]
    return dict(zip(index["sample_id"], index["group"], strict=True))


def candidate(**options: object) -> CandidateConfig:
    """A small network with random weights, where nothing else is said."""
    small = {"name": "small", "backbone": "MobileNetV2", "alpha": 0.35, "weights": "none", "image_sizes": [32]}
    return CandidateConfig.model_validate({**small, **options})


def compact(**options: object) -> CandidateConfig:
    """The network that is trained from scratch."""
    return candidate(**{"backbone": "compact_cnn", "alpha": None, **options})


def spec(**options: object) -> FeatureSpec:
    """Averaged features of the smallest network with random weights, where nothing else is said."""
    plain = {
        "backbone": "compact_cnn",
        "alpha": None,
        "weights": "none",
        "image_sizes": [64],
        "layers": ["last"],
        "pooling": ["avg"],
        "feature_norm": "none",
        "dropout": 0,
    }
    return FeatureSpec.model_validate({**plain, **options})


PLAIN = spec()
RICH = spec(image_sizes=[96, 64], pooling=["avg", "max", "std"], feature_norm="l2")


def backbone(wanted: FeatureSpec) -> Backbone:
    """The network of a spec; the same one whenever it is asked for."""
    return _backbone(wanted.key)


@functools.cache
def _backbone(key: str) -> Backbone:
    return write_backbone(FeatureSpec.model_validate_json(key), scratch(), seed=5)


def imagined(features: np.ndarray, dataset: Dataset, widths: Sequence[int] = ()) -> tuple[Backbone, Features]:
    """Features (n, d) as if a backbone had seen them in the images that candidates may see; there is no network."""
    root = scratch()
    stops = np.cumsum(widths or [features.shape[1]])
    blocks = [
        FeatureBlock(size=32, layer="last", pooling="avg", start=stop - width, stop=stop)
        for stop, width in zip(stops.tolist(), widths or [features.shape[1]], strict=True)
    ]
    info = BackboneInfo(spec=spec(), blocks=blocks, parameters=1, precision="f32", milliseconds=2, megabytes=1)
    (root / "backbone.json").write_text(info.model_dump_json())
    np.save(root / "features.npy", features.astype(np.float32))
    index = dataset.index()
    index = index[index["split"] != "test"]
    samples = {key: index[key].tolist() for key in ("sample_id", "split", "label")}
    (root / "samples.json").write_text(json.dumps(samples))
    return Backbone(root), Features(root)


def random_head(d: int, n_classes: int, seed: int = 0, hidden: int = 0) -> Head:
    """A head that is not fitted to anything."""
    rng = np.random.default_rng(seed)
    sizes = [d, hidden, n_classes] if hidden else [d, n_classes]
    layers = [(rng.normal(size=(a, b)), rng.normal(size=b)) for a, b in itertools.pairwise(sizes)]
    return Head([(weights.astype(np.float32), bias.astype(np.float32)) for weights, bias in layers])


@functools.cache
def classifier(temperature: float) -> Classifier:
    """A stored classifier of two classes with a random head; never change its folder."""
    from diascope.assembly import store_classifier

    known = backbone(PLAIN)
    head = random_head(known.info.dimension, len(CLASSES)).scaled(temperature)
    info = classifier_info(known.info.size, temperature)
    return store_classifier(known.network(), head, known.info, info, scratch())


def classifier_info(size: int, temperature: float = 1, point: OperatingPoint | None = None) -> ClassifierInfo:
    """What `store_classifier` is told."""
    training = Training(
        candidate={}, chosen={}, n=34, dataset_source="drawn", dataset_fingerprint="f" * 64, groups="similarity", seed=1
    )
    return ClassifierInfo(
        name="small",
        class_names=CLASSES,
        input=Input(size=size),
        precision="f32",
        temperature=temperature,
        operating_point=point,
        activation_map=None,
        training=training,
        versions={},
        files={},
    )


def trained(rows: np.ndarray, logits: np.ndarray, **result: object) -> TrainedCandidate:
    """A candidate with these out-of-fold logits."""
    root = scratch()
    np.savez(root / "out_of_fold.npz", rows=rows, logits=logits)
    (root / "result.json").write_text(candidate_result(n=len(rows), **result))
    return TrainedCandidate(root)


def candidate_result(**options: object) -> str:
    """A result as JSON."""
    plain = {
        "name": "small",
        "backbone": "compact_cnn",
        "description": "as drawn",
        "n": 34,
        "scores": {"auroc": 0.9, "balanced_accuracy": 0.8, "log_loss": 0.5},
        "plain_scores": None,
        "chosen": {},
        "curve_axis": "epoch",
        "curve": [],
        "milliseconds": 2.0,
        "megabytes": 1.0,
        "seconds": 1.0,
    }
    return json.dumps({**plain, **options})
