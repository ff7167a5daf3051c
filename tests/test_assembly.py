"""How do a backbone and a fitted head become one stored classifier?"""

import functools
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError

import keras
import numpy as np
import pytest
from keras.src.utils.naming import reset_uids
from tiny import (
    CLASSES,
    PLAIN,
    RICH,
    backbone,
    candidate,
    classifier,
    classifier_info,
    random_head,
    scratch,
    spec,
    stripes,
)

from diascope.assembly import _versions, store_classifier
from diascope.calibration import softmax
from diascope.classifier import Classifier, sha256
from diascope.familiarity import familiarise
from diascope.features import FeatureSpec
from diascope.heads import Head, fit_logistic

DEEP_AND_LAST = spec(image_sizes=[96, 64], layers=["max_pooling2d_2", "last"], feature_norm="l2")


def pictures(n: int = 16, side: int = 96) -> np.ndarray:
    return np.stack([stripes(i % 2, i, side, side)[..., None].repeat(3, axis=2) for i in range(n)])


def features(wanted: FeatureSpec, pixels: np.ndarray) -> np.ndarray:
    return np.stack([answer["features"] for answer in backbone(wanted).engine().stream(pixels)])


def fitted_head(wanted: FeatureSpec) -> Head:
    """A logistic regression on noisy labels, so that its answers are neither 0 nor 1."""
    size = wanted.image_sizes[0]
    labels = np.arange(60) % 2 ^ (np.arange(60) % 7 == 0)
    widths = [block.stop - block.start for block in backbone(wanted).info.blocks]
    (head,) = fit_logistic(features(wanted, pictures(60, size)), labels, 2, [1e-3], candidate(), widths)
    return head


def plain_head(wanted: FeatureSpec) -> Head:
    return random_head(backbone(wanted).info.dimension, 2)


def store(wanted: FeatureSpec, head: Head) -> Classifier:
    known = backbone(wanted)
    reset_uids()  # as in another process than the one that built the network
    return store_classifier(known.network(), head, known.info, classifier_info(known.info.size), scratch())


@functools.cache
def stored(key: str, make: Callable[[FeatureSpec], Head]) -> tuple[Classifier, Head]:
    wanted = FeatureSpec.model_validate_json(key)
    head = make(wanted)
    return classifier(1.0) if wanted == PLAIN else store(wanted, head), head


def answers(found: Classifier, pixels: np.ndarray) -> dict[str, np.ndarray]:
    listed = list(found.stream(pixels))
    return {name: np.stack([answer[name] for answer in listed]) for name in listed[0]}


LINEAR = [(PLAIN, plain_head), (DEEP_AND_LAST, fitted_head)]


@pytest.mark.parametrize(("wanted", "make"), LINEAR)
def test_the_mean_of_the_activation_map_and_the_bias_is_the_logit(
    wanted: FeatureSpec, make: Callable[[FeatureSpec], Head]
) -> None:
    found, head = stored(wanted.key, make)
    pixels = pictures(side=found.info.input.size)
    logits = head.logits(features(wanted, pixels))
    seen = answers(found, pixels)
    assert found.info.activation_map is not None
    assert found.info.activation_map.exact
    assert logits.std() > 0.05
    spread = np.abs(seen["activation_map"]).max()
    means = seen["activation_map"].mean(axis=(1, 2))
    np.testing.assert_allclose(means + head.layers[0][1], logits, atol=1e-5 * max(spread, 1) + 1e-4)
    np.testing.assert_allclose(seen["probabilities"], softmax(logits), atol=1e-4)


def test_the_map_is_as_fine_as_the_finest_layer() -> None:
    grids = [stored(wanted.key, make)[0].info.activation_map for wanted, make in LINEAR]
    assert [known.grid for known in grids if known] == [(4, 4), (12, 12)]
    assert answers(stored(DEEP_AND_LAST.key, fitted_head)[0], pictures(1))["activation_map"].shape == (1, 12, 12, 2)


def test_with_other_poolings_the_map_shows_the_averaged_part() -> None:
    found, head = stored(RICH.key, plain_head)
    assert found.info.activation_map is not None
    assert not found.info.activation_map.exact
    pixels = pictures()
    x, weights = features(RICH, pixels), head.layers[0][0]
    averaged = [block for block in backbone(RICH).info.blocks if block.pooling == "avg"]
    part = sum(x[:, b.start : b.stop] @ weights[b.start : b.stop] for b in averaged)
    np.testing.assert_allclose(answers(found, pixels)["activation_map"].mean(axis=(1, 2)), part, atol=1e-4)
    np.testing.assert_allclose(answers(found, pixels)["probabilities"], softmax(head.logits(x)), atol=1e-4)


def test_the_map_shows_where() -> None:
    """A spot that moves one position down and two to the right takes its trace along."""
    found, _ = stored(PLAIN.key, plain_head)

    def trace(top: int, left: int) -> np.ndarray:
        empty = np.full((64, 64, 3), 90, np.uint8)
        spot = empty.copy()
        spot[top : top + 10, left : left + 10] = 255
        without, with_spot = answers(found, np.stack([empty, spot]))["activation_map"][..., 1]
        change = np.abs(with_spot - without) / np.abs(with_spot - without).sum()
        return np.array([change.sum(axis=1) @ np.arange(4), change.sum(axis=0) @ np.arange(4)])

    np.testing.assert_allclose(trace(19, 3), (1, 0), atol=0.75)
    np.testing.assert_allclose(trace(35, 35), (2, 2), atol=0.75)


def test_each_class_has_its_own_map_and_it_depends_on_the_weights() -> None:
    found, head = stored(PLAIN.key, plain_head)
    pixels = pictures(4, 64)
    maps = answers(found, pixels)["activation_map"]

    def likeness(a: np.ndarray, b: np.ndarray) -> float:
        return abs(float(np.corrcoef(a.ravel(), b.ravel())[0, 1]))

    assert likeness(maps[..., 0], maps[..., 1]) < 0.9
    network = backbone(PLAIN).network()
    random = np.random.default_rng(1)
    body = network.get_layer("backbone")
    body.set_weights([random.permuted(weights, axis=-1) for weights in body.get_weights()])
    other_network = store_classifier(network, head, backbone(PLAIN).info, classifier_info(64), scratch())
    assert likeness(answers(other_network, pixels)["activation_map"][..., 1], maps[..., 1]) < 0.9


@pytest.mark.parametrize("hidden", [7, 0], ids=["hidden layer", "no averages"])
def test_without_a_map_there_is_one_output(hidden: int) -> None:
    known = backbone(PLAIN)
    block = known.info.blocks[0].model_copy(update={"pooling": "avg" if hidden else "max"})
    head = random_head(96, 2, hidden=hidden)
    info = known.info.model_copy(update={"blocks": [block]})
    found = store_classifier(known.network(), head, info, classifier_info(64), scratch())
    assert found.info.activation_map is None
    pixels = pictures(4, 64)
    seen = answers(found, pixels)
    assert seen.keys() == {"probabilities"}
    np.testing.assert_allclose(seen["probabilities"], softmax(head.logits(features(PLAIN, pixels))), atol=1e-4)


def test_the_temperature_is_in_the_graph_and_the_map() -> None:
    pixels = pictures(6, 64)
    cold, warm = (answers(classifier(temperature), pixels) for temperature in (1.0, 2.5))
    odds = {name: np.log(seen["probabilities"]) for name, seen in (("cold", cold), ("warm", warm))}
    spread = {name: log[:, 0] - log[:, 1] for name, log in odds.items()}
    np.testing.assert_allclose(spread["warm"] * 2.5, spread["cold"], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(warm["activation_map"] * 2.5, cold["activation_map"], atol=1e-4)


def test_the_keras_model_is_whole_and_can_be_trained_further() -> None:
    found, _ = stored(DEEP_AND_LAST.key, fitted_head)
    model = keras.saving.load_model(found.root / "model.keras")
    pixels = pictures(6)
    probabilities, activation = model(pixels, training=False)
    seen = answers(found, pixels)
    np.testing.assert_allclose(seen["probabilities"], probabilities, atol=1e-4)
    np.testing.assert_allclose(seen["activation_map"], activation, atol=1e-3)
    assert model.trainable_weights


def test_metadata_hold_the_hash_of_every_file() -> None:
    found = classifier(1.0)
    assert found.info.class_names == CLASSES
    assert found.info.files == {name: sha256(found.root / name) for name in ("model.bin", "model.keras", "model.xml")}


def test_tensorflow_is_named_also_where_it_is_the_build_without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(package: str) -> str:
        if package == "tensorflow":
            raise PackageNotFoundError(package)
        return "2.21.0" if package == "tensorflow-cpu" else "1.0"

    monkeypatch.setattr("diascope.assembly.version", version)
    assert _versions()["tensorflow"] == "2.21.0"
    assert "tensorflow-cpu" not in _versions()


@pytest.mark.parametrize("wanted", [PLAIN, RICH], ids=["one block", "six blocks"])
def test_the_distance_is_that_of_the_reference_on_stored_features(wanted: FeatureSpec) -> None:
    known = backbone(wanted)
    side = known.info.size
    seen = features(wanted, pictures(60, side))
    reference, familiarity = familiarise(seen, np.arange(60) % 2, np.arange(60), known.info.averages, seed=0)
    info = classifier_info(side).model_copy(update={"familiarity": familiarity})
    reset_uids()
    found = store_classifier(known.network(), plain_head(wanted), known.info, info, scratch(), reference)
    foreign = np.random.default_rng(0).integers(0, 256, (8, side, side, 3)).astype(np.uint8)
    blank = np.stack([np.full((side, side, 3), value, np.uint8) for value in (0, 90, 255)])
    new = np.stack([stripes(i % 2, 900 + i, side, side)[..., None].repeat(3, axis=2) for i in range(30)])
    for pixels in (new, foreign, blank):
        seen = answers(found, pixels)
        expected = reference.distance(features(wanted, pixels)) / familiarity.threshold
        np.testing.assert_allclose(seen["distance"], expected, rtol=2e-3)
        assert seen["distance"].shape == (len(pixels),)
        np.testing.assert_allclose(
            seen["probabilities"], softmax(plain_head(wanted).logits(features(wanted, pixels))), atol=1e-4
        )
    decisions = [[answer.decision for answer in found.answers(list(some))] for some in (new, foreign, blank)]
    assert decisions[0].count("out_of_distribution") <= 3
    assert set(decisions[1]) == set(decisions[2]) == {"out_of_distribution"}


def test_the_keras_model_gives_the_same_distance() -> None:
    known = backbone(PLAIN)
    pixels = pictures(40, 64)
    reference, familiarity = familiarise(features(PLAIN, pixels), np.arange(40) % 2, np.arange(40), [(0, 96)], seed=0)
    info = classifier_info(64).model_copy(update={"familiarity": familiarity})
    found = store_classifier(known.network(), plain_head(PLAIN), known.info, info, scratch(), reference)
    model = keras.saving.load_model(found.root / "model.keras")
    np.testing.assert_allclose(model.predict_on_batch(pixels)[-1], answers(found, pixels)["distance"], rtol=2e-3)
