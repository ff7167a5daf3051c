"""Write a classifier with an unfitted head, for this service and for MLflow's, in a process of its own (TensorFlow)."""

import json
import os
from pathlib import Path

import numpy as np

from benchmarks import child, data
from benchmarks.ours import candidate
from benchmarks.prepared import RELEASE
from diascope.assembly import store_classifier
from diascope.classifier import ClassifierInfo, Input, Training
from diascope.deployment import SERVED
from diascope.features import FeatureSpec, write_backbone
from diascope.heads import Head

CLASSES = ["adenocarcinoma", "large cell carcinoma", "normal", "squamous cell carcinoma"]


def main() -> None:
    """Write both forms of the model; what it answers does not matter here."""
    import keras
    import mlflow

    asked = child.options()
    root = Path(asked["root"])
    for name in ("backbone", "classifier"):
        (root / name).mkdir(parents=True)
    config = candidate(asked["backbone"], asked["size"], asked["alpha"])
    backbone = write_backbone(FeatureSpec.of(config), root / "backbone", data.SEED)
    weights = np.random.default_rng(data.SEED).normal(size=(backbone.info.dimension, len(CLASSES)))
    head = Head([(weights.astype(np.float32), np.zeros(len(CLASSES), np.float32))])
    training = Training(
        candidate=config.model_dump(mode="json"),
        chosen={},
        n=0,
        dataset_source="none",
        dataset_fingerprint="",
        groups="similarity",
        seed=data.SEED,
    )
    info = ClassifierInfo(
        name="benchmark",
        class_names=CLASSES,
        input=Input(size=backbone.info.size),
        precision=backbone.info.precision,
        temperature=1,
        operating_point=None,
        activation_map=None,
        training=training,
        versions={},
        files={},
    )
    store_classifier(backbone.network(), head, backbone.info, info, root / "classifier")
    whole = keras.saving.load_model(root / "classifier" / "model.keras")
    mlflow.keras.save_model(keras.Model(whole.input, whole.outputs[0]), str(root / "mlflow"), pip_requirements=[])
    _package(root / "classifier", root / "bentoml")
    print(json.dumps({"precision": backbone.info.precision}))


def _package(classifier: Path, store: Path) -> None:
    """Put the classifier into a BentoML store as the deployment pipeline does, without a card."""
    os.environ["BENTOML_HOME"] = str(store)
    from bentoml.models import create

    with create(RELEASE.stored_as) as model:
        for name in SERVED:
            Path(model.path_of(name)).write_bytes((classifier / name).read_bytes())


if __name__ == "__main__":
    main()
