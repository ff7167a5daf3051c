"""Preparations against independent implementations, and that whoever looks at an image prepares it in the same way."""

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError
from scipy import ndimage
from tiny import CLASSES, PLAIN, backbone, classifier_info, png, random_head, row, scratch, spec, write_dataset

from diascope import images
from diascope.card.making import _input
from diascope.classifier import Classifier, Input
from diascope.config import CandidateConfig
from diascope.engine import Elastic
from diascope.features import FeatureSpec, decoded, extract_features
from diascope.preparation import LONGEST, STAINS, network_input, prepare
from diascope.preparation_settings import CLIP_LIMIT, Preparation
from diascope.reports.model import use

KINDS = [
    Preparation(denoise=denoise, normalise=normalise)
    for denoise, normalise in itertools.product(
        ("none", "median", "gaussian", "wiener"), ("none", "percentile", "clahe", "stain")
    )
]
RNG = np.random.default_rng(4)
COLOURS = RNG.integers(0, 256, (37, 51, 3)).astype(np.uint8)
GREY = np.repeat(ndimage.gaussian_filter(RNG.normal(size=(75, 90)), 4)[..., None] * 900 + 90, 3, axis=2)
GREY = np.clip(GREY + RNG.normal(0, 6, (75, 90, 1)), 0, 255).astype(np.uint8)


def done(pixels: np.ndarray, **kinds: str) -> np.ndarray:
    prepared = prepare(Image.fromarray(pixels), Preparation.model_validate(kinds))
    assert prepared.mode == "RGB"
    return np.asarray(prepared).astype(int)


@pytest.mark.parametrize("pixels", [COLOURS, GREY])
def test_the_median_is_that_of_three_by_three(pixels: np.ndarray) -> None:
    expected = ndimage.median_filter(pixels, size=(3, 3, 1), mode="nearest")
    np.testing.assert_array_equal(done(pixels, denoise="median"), expected)


@pytest.mark.parametrize("pixels", [COLOURS, GREY])
def test_the_blur_has_a_standard_deviation_of_one_pixel(pixels: np.ndarray) -> None:
    kernel = np.array([1, 4, 6, 4, 1]) / 16
    assert kernel @ np.arange(-2, 3) ** 2 == 1
    expected = pixels.astype(float)
    for axis in (0, 1):
        expected = ndimage.correlate1d(expected, kernel, axis=axis, mode="nearest")
    np.testing.assert_allclose(done(pixels, denoise="gaussian"), expected, atol=0.51)


@pytest.mark.parametrize("pixels", [COLOURS, GREY])
def test_the_wiener_filter_keeps_what_exceeds_the_noise(pixels: np.ndarray) -> None:
    expected = np.empty(pixels.shape)
    for band in range(3):
        x = pixels[..., band].astype(float)
        mean = ndimage.uniform_filter(x, 3, mode="nearest")
        variance = ndimage.uniform_filter(x**2, 3, mode="nearest") - mean**2
        gain = np.maximum(variance - variance.mean(), 0) / np.maximum(variance, variance.mean())
        expected[..., band] = mean + gain * (x - mean)
    np.testing.assert_allclose(done(pixels, denoise="wiener"), expected, atol=0.55)


def test_noise_is_less_and_an_edge_stays_where_it_was() -> None:
    clean = np.repeat(np.repeat([[60, 180]], 32, axis=1)[..., None], 3, axis=2).repeat(64, axis=0).astype(np.uint8)
    noisy = np.clip(clean + np.random.default_rng(1).normal(0, 10, (64, 64, 1)), 0, 255).astype(np.uint8)
    for kind in ("median", "gaussian", "wiener"):
        smooth = done(noisy, denoise=kind)
        assert smooth[:, 2:28].std() < 0.6 * noisy[:, 2:28].std()
        assert smooth[:, 33].mean() - smooth[:, 30].mean() > 60


def test_percentiles_of_what_is_not_black_fill_the_range() -> None:
    pixels = np.zeros((20, 100, 3), np.uint8)
    pixels[10:] = np.arange(50, 150)[None, :, None]  # half of the image is background
    stretched = done(pixels, normalise="percentile")
    assert (stretched[:10] == 0).all()
    np.testing.assert_allclose(stretched[10, :, 0], np.clip((np.arange(100) - 0) / 98 * 255, 0, 255), atol=3)
    assert stretched[10, -1, 0] == 255


@pytest.mark.parametrize("value", [0, 90, 255])
def test_an_image_of_one_value_has_nothing_to_stretch(value: int) -> None:
    pixels = np.full((30, 30, 3), value, np.uint8)
    np.testing.assert_array_equal(done(pixels, normalise="percentile"), pixels)
    assert np.ptp(done(pixels, normalise="clahe")) == 0


def slow_clahe(grey: np.ndarray) -> np.ndarray:
    """As the paper says it, pixel by pixel; excess counts are dealt out as OpenCV does."""
    height, width = grey.shape
    rows, columns = -(-height // 8), -(-width // 8)
    padded = np.pad(grey, [(0, 8 * rows - height), (0, 8 * columns - width)], mode="reflect")
    tables = np.empty((8, 8, 256))
    for i, j in itertools.product(range(8), range(8)):
        tile = padded[i * rows : (i + 1) * rows, j * columns : (j + 1) * columns]
        counts = np.bincount(tile.ravel(), minlength=256)
        limit = max(int(CLIP_LIMIT * tile.size / 256), 1)
        excess = int((counts - limit).clip(0).sum())
        counts = counts.clip(None, limit) + excess // 256
        left, place = excess % 256, 0
        step = max(256 // left, 1) if left else 1
        while left:
            counts[place] += 1
            left, place = left - 1, place + step
        tables[i, j] = np.rint(counts.cumsum() * 255 / tile.size)
    found = np.empty(grey.shape)
    for y, x in itertools.product(range(height), range(width)):
        v, u = y / rows - 0.5, x / columns - 0.5
        i, j = int(np.floor(v)), int(np.floor(u))
        around = [[tables[min(max(a, 0), 7), min(max(b, 0), 7), grey[y, x]] for b in (j, j + 1)] for a in (i, i + 1)]
        found[y, x] = np.array([1 - (v - i), v - i]) @ np.array(around) @ np.array([1 - (u - j), u - j])
    return np.rint(found)


@pytest.mark.parametrize("shape", [(64, 64), (75, 90), (9, 30)])
def test_histograms_of_tiles_are_equalised_within_the_limit(shape: tuple[int, int]) -> None:
    pixels = GREY[: shape[0], : shape[1]]
    found = done(pixels, normalise="clahe")
    np.testing.assert_allclose(found[..., 0], slow_clahe(pixels[..., 0]), atol=1)
    assert (found[..., 0] == found[..., 2]).all()


def test_of_colours_the_luminance_is_equalised() -> None:
    pixels = (COLOURS // 4 + np.array([90, 60, 60])).astype(np.uint8)
    found = Image.fromarray(done(pixels, normalise="clahe").astype(np.uint8)).convert("YCbCr")
    before = Image.fromarray(pixels).convert("YCbCr")
    for band in (1, 2):
        np.testing.assert_allclose(np.asarray(found)[..., band], np.asarray(before)[..., band].astype(int), atol=4)
    assert np.asarray(found)[..., 0].std() > 1.5 * np.asarray(before)[..., 0].std()


def stained(vectors: np.ndarray, strengths: np.ndarray) -> np.ndarray:
    """A slide with these stains: transmitted light by Beer and Lambert."""
    light = 240 * np.exp(-(strengths @ vectors.T))
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)


def test_the_same_tissue_under_other_stains_gets_the_same_colours() -> None:
    rng = np.random.default_rng(7)
    strengths = rng.gamma(2, 0.3, (60, 60, 2))
    strengths[:20, :, 1], strengths[40:, :, 0] = 0.02, 0.02  # where one stain is alone
    strengths = np.clip(strengths, 0, 1.4)
    bluer = STAINS / np.linalg.norm(STAINS, axis=0)
    redder = np.array([[0.65, 0.07], [0.70, 0.99], [0.29, 0.11]])
    redder = redder / np.linalg.norm(redder, axis=0)
    before = [stained(vectors, strengths) for vectors in (bluer, redder)]
    after = [done(pixels, normalise="stain") for pixels in before]
    distance = np.abs(before[0].astype(int) - before[1]).mean()
    assert distance > 10
    assert np.abs(after[0] - after[1]).mean() < 0.35 * distance


@pytest.mark.parametrize("pixels", [GREY, np.full((20, 20, 3), (250, 240, 250), np.uint8)])
def test_without_two_stains_nothing_is_changed(pixels: np.ndarray) -> None:
    np.testing.assert_array_equal(done(pixels, normalise="stain"), pixels)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.booleans())
def test_any_image_stays_an_image_of_its_size(height: int, width: int, seed: int, grey: bool) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    image = Image.fromarray(pixels if not grey else pixels[..., :1].repeat(3, axis=2))
    for kind in KINDS:
        prepared = prepare(image, kind)
        assert (prepared.size, prepared.mode) == (image.size, "RGB")
        red, green, blue = np.moveaxis(np.asarray(prepared), -1, 0)
        assert not grey or ((red == green) & (green == blue)).all()


def test_a_large_image_is_reduced_first() -> None:
    image = Image.fromarray(RNG.integers(0, 256, (40, 3 * LONGEST, 3)).astype(np.uint8))
    assert prepare(image, Preparation(denoise="median")).size == (LONGEST, 13)
    assert prepare(image, Preparation()) is image


def test_an_unknown_preparation_is_refused() -> None:
    with pytest.raises(ValidationError, match="'none', 'median', 'gaussian' or 'wiener'"):
        CandidateConfig.model_validate({"name": "a", "backbone": "VGG16", "preparation": {"denoise": "medain"}})


# One path

BOTH = Preparation(denoise="median", normalise="clahe")
PICTURES = [np.random.default_rng(i).integers(20, 120, (40, 48, 3)).astype(np.uint8) for i in range(3)]


@pytest.fixture(scope="module")
def prepared() -> Classifier:
    from diascope.assembly import store_classifier

    known = backbone(PLAIN)
    info = classifier_info(known.info.size).model_copy(update={"input": Input(size=64, preparation=BOTH)})
    head = random_head(known.info.dimension, len(CLASSES))
    stored = store_classifier(known.network(), head, known.info, info, scratch())
    return Classifier.load(stored.root)


def test_a_classifier_prepares_whatever_it_is_given_as_its_training_images_were(prepared: Classifier) -> None:
    expected = np.stack([images.resize(prepare(Image.fromarray(each), BOTH), 64) for each in PICTURES])
    assert np.abs(expected.astype(int) - [images.resize(Image.fromarray(each), 64) for each in PICTURES]).mean() > 5
    rows = [row(f"train/{i}.png", CLASSES[i % 2], "train", png(each)) for i, each in enumerate(PICTURES)]
    training = list(decoded(write_dataset(scratch(), rows), ["train"], spec(preparation=BOTH.model_dump())))
    np.testing.assert_array_equal(np.stack(training), expected)
    for given_as in (png, Image.fromarray, np.asarray):
        np.testing.assert_array_equal(np.stack([prepared.pixels(given_as(each)) for each in PICTURES]), expected)


def test_the_service_prepares_them_too(prepared: Classifier) -> None:
    pytest.importorskip("bentoml")
    from serving.forms import Part
    from serving.predictor import Predictor

    silent: Any = SimpleNamespace(alone=True, seconds=lambda *_: None)
    predictor = Predictor(prepared, Elastic(prepared.root / "model.xml"), silent, 10**8, silent, silent)
    seen = predictor.look(Part("image", "scan.png", png(PICTURES[0])))
    np.testing.assert_array_equal(seen.pixels, prepared.pixels(png(PICTURES[0])))
    probabilities = prepared.predict([png(PICTURES[0])]).probabilities[0]
    np.testing.assert_allclose(seen.outputs["probabilities"], probabilities, atol=1e-6)


def test_features_are_of_prepared_images_and_are_shared_by_the_same_preparation_alone(tmp_path: Path) -> None:
    rows = [row(f"train/{i}.png", CLASSES[i % 2], "train", png(each)) for i, each in enumerate(PICTURES)]
    dataset = write_dataset(tmp_path, rows)
    plain, known = scratch(), scratch()
    backbone_of = backbone(spec(preparation=BOTH.model_dump()))
    seen = extract_features(dataset, backbone_of, ["train"], known).array()
    engine = backbone_of.engine()
    pixels = [network_input(Image.fromarray(each), 64, BOTH) for each in PICTURES]
    np.testing.assert_allclose(seen, [outputs["features"] for outputs in engine.stream(pixels)], atol=1e-5)
    assert np.abs(seen - extract_features(dataset, backbone(PLAIN), ["train"], plain).array()).max() > 1e-3

    config = {"name": "a", "backbone": "VGG16", "preparation": {"normalise": "clahe"}}
    one, same, other = (
        FeatureSpec.of(CandidateConfig.model_validate(config | more)).key
        for more in ({}, {"name": "b"}, {"preparation": {"denoise": "median", "normalise": "clahe"}})
    )
    assert one == same
    assert one != other


def test_what_is_done_stands_on_the_card_and_the_models_page(prepared: Classifier) -> None:
    assert dict(use(prepared.info))["Preparation"] == BOTH.sentence
    assert _input(prepared.info).preparation.startswith("median of 3 by 3 pixels; contrast-limited adaptive")
    assert Preparation().sentence == "none"
