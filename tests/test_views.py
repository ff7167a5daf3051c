"""Which further views of an image are predicted, and how does a map of one lie on the image?"""

import functools
from typing import get_args

import keras
import numpy as np
import pytest
from PIL import Image
from tiny import (
    PLAIN,
    backbone,
    candidate,
    classifier_info,
    compact,
    groups,
    random_head,
    scratch,
    spec,
    striped,
    stripes,
)

from diascope.assembly import store_classifier
from diascope.calibration import softmax
from diascope.candidates import frozen_fit, train_candidate
from diascope.classifier import Classifier
from diascope.config import SelectionConfig
from diascope.descent_settings import View
from diascope.development import Development
from diascope.familiarity import familiarise
from diascope.features import extract_features
from diascope.heads import Head
from diascope.images import resize
from diascope.network_fit import NetworkFit
from diascope.views import attach_return, attach_view, viewed

VIEWS: list[str] = list(get_args(View))
TURNED = {  # by NumPy's own names
    "horizontal_flip": np.fliplr,
    "vertical_flip": np.flipud,
    "rotation_90": np.rot90,
    "rotation_180": functools.partial(np.rot90, k=2),
    "rotation_270": functools.partial(np.rot90, k=3),
}


def pictures(n: int, side: int = 64) -> np.ndarray:
    return np.stack([stripes(i % 2, 70 + i, side, side)[..., None].repeat(3, axis=2) for i in range(n)])


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_what_its_name_says_and_leads_back(view: str) -> None:
    images = pictures(3, 8)
    expected = np.stack([TURNED[view](image) for image in images])
    assert np.array_equal(viewed(images, view), expected)
    image = keras.Input((8, 8, 3), dtype="uint8")
    there = attach_view(image, view)
    found, back = keras.Model(image, [there, attach_return(there, view)])(images)
    assert np.array_equal(found, expected)
    assert np.array_equal(back, images)


@functools.cache
def stored(*views: str) -> tuple[Classifier, Head]:
    """A classifier of some views with a distance, and its head."""
    known = backbone(spec(views=list(views)))
    head = random_head(96, 2)
    seen = known.network()(pictures(40), training=False)[0].numpy()
    reference, familiarity = familiarise(seen, np.arange(40) % 2, np.arange(40), known.info.averages, seed=0)
    info = classifier_info(64).model_copy(update={"familiarity": familiarity})
    return store_classifier(known.network(), head, known.info, info, scratch(), reference), head


def answers(found: Classifier, pixels: np.ndarray) -> dict[str, np.ndarray]:
    listed = list(found.stream(pixels))
    return {name: np.stack([answer[name] for answer in listed]) for name in listed[0]}


def test_the_served_graph_averages_logits_and_maps_and_keeps_the_plain_distance() -> None:
    images = pictures(6)
    images[:, :20, :15] = 250  # so that no view is like another
    found, head = stored("horizontal_flip", "rotation_90")
    plain, _ = stored()
    seen, once = answers(found, images), answers(plain, images)
    every = [images, viewed(images, "horizontal_flip"), viewed(images, "rotation_90")]
    network = backbone(PLAIN).network()
    logits = np.mean([head.logits(network(np.ascontiguousarray(x), training=False)[0].numpy()) for x in every], axis=0)
    np.testing.assert_allclose(seen["probabilities"], softmax(logits), atol=1e-4)
    assert np.abs(seen["probabilities"] - once["probabilities"]).max() > 1e-3
    np.testing.assert_allclose(seen["distance"], once["distance"], rtol=1e-4)
    spread = np.abs(seen["activation_map"]).max()
    means = seen["activation_map"].mean(axis=(1, 2)) + head.layers[0][1]
    np.testing.assert_allclose(means, logits, atol=1e-5 * max(spread, 1) + 1e-4)
    maps = [answers(plain, np.ascontiguousarray(x))["activation_map"] for x in every]
    laid_back = [maps[0], np.stack([np.fliplr(m) for m in maps[1]]), np.stack([np.rot90(m, -1) for m in maps[2]])]
    np.testing.assert_allclose(seen["activation_map"], np.mean(laid_back, axis=0), atol=1e-4 * max(spread, 1))
    assert found.info.activation_map
    assert found.info.activation_map.exact
    assert (found.root / "model.bin").stat().st_size < 1.1 * (plain.root / "model.bin").stat().st_size


def test_each_view_costs_what_the_image_costs() -> None:
    costs = [backbone(spec(views=VIEWS[:n])).info.gigamacs for n in range(3)]
    np.testing.assert_allclose(costs, [costs[0], 2 * costs[0], 3 * costs[0]], rtol=1e-6)


def test_a_head_without_a_map_is_averaged_too() -> None:
    known = backbone(spec(views=["vertical_flip"]))
    head = random_head(96, 2, hidden=5)
    found = store_classifier(known.network(), head, known.info, classifier_info(64), scratch())
    images = pictures(4)
    network = backbone(PLAIN).network()
    both = [images, np.ascontiguousarray(images[:, ::-1])]
    logits = np.mean([head.logits(network(x, training=False)[0].numpy()) for x in both], axis=0)
    np.testing.assert_allclose(answers(found, images)["probabilities"], softmax(logits), atol=1e-4)


HEADS = {"ridge": {"head": "ridge", "weight_decay": 0.1}, "mlp": {"head": "mlp", "hidden_units": 4, "epochs": 3}}


@pytest.mark.parametrize("head", list(HEADS))
def test_out_of_fold_logits_are_those_of_all_views(head: str) -> None:
    views = ["horizontal_flip", "vertical_flip"]
    config = candidate(**HEADS[head], test_time_augmentation=views)
    known = backbone(spec(image_sizes=[32], views=views))
    features = extract_features(striped(), known, ("train", "validation"), scratch())
    plain, development = np.asarray(features.array()), Development.of(striped(), groups(striped()))
    network = known.network()
    for found, view in zip(features.views(), views, strict=True):
        expected = network(np.ascontiguousarray(viewed(_pixels(32), view)), training=False)[0].numpy()
        np.testing.assert_allclose(found, expected, atol=1e-4)
    selection = SelectionConfig(method="validation")
    rows, logits = train_candidate(
        config, known, striped(), features, groups(striped()), selection, 3, scratch()
    ).out_of_fold()
    held_out = np.isin(np.arange(34), rows)[:, None]
    parts = [
        frozen_fit(config, known, np.where(held_out, view, plain), development, 3)
        .compare([(np.flatnonzero(~held_out[:, 0]), rows)])
        .logits
        for view in (plain, *features.views())
    ]
    np.testing.assert_allclose(logits, np.mean(parts, axis=0), atol=1e-5)
    assert not np.allclose(logits, parts[0], atol=1e-3)


def _pixels(side: int) -> np.ndarray:
    drawn = [stripes(i // 2 % 2, i)[..., None].repeat(3, axis=2) for i in range(34)]
    return np.stack([resize(Image.fromarray(each), side) for each in drawn])


def test_a_trained_network_is_measured_over_its_views(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIASCOPE_CACHE", str(scratch()))
    development = Development.of(striped(), groups(striped()))
    config = {"image_sizes": [64], "epochs": 1, "batch_size": 24}
    pairs = [(np.arange(24), np.arange(24, 34))]
    pixels = _pixels(64)
    fits = [
        NetworkFit(compact(**config, test_time_augmentation=views), backbone(spec(views=views)), pixels, development, 3)
        for views in ([], ["horizontal_flip"])
    ]
    plain, both = (fit.compare(pairs).logits for fit in fits)
    flipped = NetworkFit(compact(**config), backbone(PLAIN), _flipped(pixels, 24), development, 3).compare(pairs).logits
    np.testing.assert_allclose(both, (plain + flipped) / 2, atol=1e-4)


def _flipped(pixels: np.ndarray, start: int) -> np.ndarray:
    """The same images to fit, and flipped ones to hold out."""
    return np.concatenate([pixels[:start], np.ascontiguousarray(pixels[start:, :, ::-1])])
