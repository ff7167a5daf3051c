"""Does a model notice images of another kind? On real images, which the repository does not hold."""

import functools
import importlib.util
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import classifier_info, random_head, scratch

from diascope.assembly import store_classifier
from diascope.classifier import Classifier
from diascope.config import CandidateConfig, ChecksConfig, DatasetConfig
from diascope.dataset import Dataset, ingest
from diascope.experiment import load
from diascope.familiarity import familiarise
from diascope.features import Backbone, FeatureSpec, extract_features, write_backbone
from diascope.groups import similarity_groups

DATA, WEIGHTS = os.environ.get("DIASCOPE_TEST_DATA"), os.environ.get("DIASCOPE_WEIGHTS_DIR")
pytestmark = pytest.mark.skipif(
    not DATA or not WEIGHTS, reason="DIASCOPE_TEST_DATA and DIASCOPE_WEIGHTS_DIR name no folders"
)
CHEST, BRAIN, BROKEN = "chest-ct-4class", "brain-mri-yesno", "broken-brain-mri-yesno-values0to1"


def config(name: str) -> CandidateConfig:
    experiment = load(Path(__file__).parent.parent / "configs" / "chest_ct.yaml").parameters
    return next(candidate for candidate in experiment.candidates if candidate.name == name)


@functools.cache
def backbone(name: str) -> Backbone:
    """With averages alone: the distance looks at nothing else, and they are the same without the other poolings."""
    spec = FeatureSpec.of(config(name)).model_copy(update={"pooling": ["avg"]})
    return write_backbone(spec, scratch(), seed=20)


@functools.cache
def dataset(name: str) -> Dataset:
    source = Path(DATA or "") / name
    return ingest(DatasetConfig(source=str(source)), ChecksConfig(), source, scratch() / "dataset", 20)


@functools.cache
def model(data: str, name: str) -> Classifier:
    """Trained as far as familiarity goes: the classes are of no use for it, so the head is random, and has no map."""
    known = backbone(name)
    features = extract_features(dataset(data), known, ("train", "validation"), scratch())
    alike = similarity_groups(features.appearance(), seed=20)
    reference, familiarity = familiarise(
        features.array(), np.array(features.samples["label"]), alike, known.info.averages, seed=20
    )
    info = classifier_info(known.info.size).model_copy(update={"familiarity": familiarity})
    return store_classifier(
        known.network(), random_head(known.info.dimension, 2, hidden=1), known.info, info, scratch(), reference
    )


def flagged(found: Classifier, pictures: Iterable) -> float:
    decisions = [answer.decision for answer in found.answers(pictures)]
    return decisions.count("out_of_distribution") / len(decisions)


def own_test_images(data: str) -> list[bytes]:
    return [image for _, batch in dataset(data).images("test") for image in batch]


def files(name: str) -> list[Path]:
    return sorted(path for path in (Path(DATA or "") / name).rglob("*") if path.is_file())


def blanks() -> list[np.ndarray]:
    noise = np.random.default_rng(0).normal(0, 2, (200, 300, 1))
    flat = [np.full((200, 300, 3), grey, np.uint8) for grey in range(0, 256, 15)]
    nearly = [np.clip(grey + noise, 0, 255).astype(np.uint8).repeat(3, axis=2) for grey in range(10, 256, 40)]
    return flat + nearly


def noises() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [
        np.clip(rng.normal(120, spread, (200, 300, 1)), 0, 255).astype(np.uint8).repeat(3, 2) for spread in (20, 60)
    ]


def photographs() -> list[Image.Image]:
    folders = {"sklearn": "datasets/images", "matplotlib": "mpl-data/sample_data"}
    names = ("sklearn/china.jpg", "sklearn/flower.jpg", "matplotlib/grace_hopper.jpg")
    found = []
    for name in names:
        package, file = name.split("/")
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        found.append(Image.open(Path(spec.origin).parent / folders[package] / file))
    return [*found, *(photo.convert("L") for photo in found)]


def test_a_chest_ct_model_knows_its_own_and_notices_others() -> None:
    found = model(CHEST, "four_layers")
    assert flagged(found, own_test_images(CHEST)[::2]) <= 0.05
    assert flagged(found, files(BRAIN)[::2]) >= 0.95
    assert flagged(found, files(BROKEN)[::5]) >= 0.95
    assert flagged(found, blanks()) >= 0.95
    assert flagged(found, noises()) == 1
    assert flagged(found, photographs()) == 1


def test_a_brain_mri_model_notices_chest_ct() -> None:
    found = model(BRAIN, "last_layer")
    assert flagged(found, own_test_images(BRAIN)) <= 0.1  # of 45 images
    assert flagged(found, own_test_images(CHEST)) >= 0.95
    assert flagged(found, blanks()) >= 0.95
    assert flagged(found, photographs()) == 1
