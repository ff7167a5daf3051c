"""Where did the network look?"""

import functools
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from tiny import CLASSES, PLAIN, backbone, candidate, classifier_info, scratch, stripes

from diascope.classifier import Classifier
from diascope.explanation import CAUTION, LONGEST, explain, heat
from diascope.heads import Head, fit_logistic

SIZE = (180, 120)


def one_place(n_classes: int = 3) -> np.ndarray:
    """A map (6, 9, n_classes) where one place, at the upper left, speaks for class 0 and one, lower right, for 1."""
    found = np.zeros((6, 9, n_classes), np.float32)
    found[1, 1, 0], found[4, 7, 1] = 2, 1
    return found


def opacity(found: np.ndarray, class_index: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.asarray(heat(found, class_index, size).getchannel("A")).astype(int)


def opened(data: bytes) -> Image.Image:
    image = Image.open(BytesIO(data))
    image.load()  # checks the CRC of every chunk
    return image


def photo(size: tuple[int, int] = SIZE) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3)).astype(np.uint8))


def test_the_heat_lies_where_the_map_says_and_nowhere_else() -> None:
    first, second = opacity(one_place(), 0), opacity(one_place(), 1)
    row, column = np.unravel_index(first.argmax(), first.shape)
    assert (20 <= row < 40, 20 <= column < 40) == (True, True)
    assert first[60:].max() < 15
    row, column = np.unravel_index(second.argmax(), second.shape)
    assert (80 <= row < 100, 140 <= column < 160) == (True, True)
    assert opacity(one_place(), 2).max() < 15  # of 191: bicubic interpolation overshoots a little


def test_opacity_and_lightness_grow_with_the_value() -> None:
    ramp = np.zeros((1, 256, 2), np.float32)
    ramp[0, :, 0] = np.linspace(0, 1, 256)
    pixels = np.asarray(heat(ramp, 0, (256, 1)))[0].astype(float)
    assert (np.diff(pixels[:, 3]) >= 0).all()
    assert pixels[0, 3] == 0
    assert 150 < pixels[-1, 3] < 230
    lightness = pixels[:, :3] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) > -1).all()
    assert np.diff(lightness[::32]).min() > 5


def test_a_weaker_class_is_paler_than_the_strongest() -> None:
    assert opacity(one_place(), 1).max() < 0.6 * opacity(one_place(), 0).max()


def test_what_speaks_for_all_classes_speaks_for_none() -> None:
    common = np.random.default_rng(0).normal(0, 50, (6, 9, 1)).astype(np.float32)
    difference = np.abs(opacity(one_place() + common, 0) - opacity(one_place(), 0))
    assert difference.max() <= 1


@pytest.mark.parametrize("value", [0.0, -3.0, 1e-30])
def test_a_map_that_says_nothing_shows_nothing(value: float) -> None:
    assert opacity(np.full((4, 4, 2), value, np.float32), 1).max() == 0


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (1200, 3), (33, 20)])
def test_any_size_can_be_explained(size: tuple[int, int]) -> None:
    whole = opened(explain(photo(size), one_place(), 0))
    assert whole.width >= size[0] or whole.width == LONGEST
    drawn = opened(explain(photo(size), one_place(), 0, part="map"))
    assert drawn.has_transparency_data
    assert np.array_equal(np.asarray(drawn.convert("RGBA")), np.asarray(heat(one_place(), 0, drawn.size)))


def test_the_picture_above_the_strip_is_the_image_with_the_heat_on_it() -> None:
    image = photo((300, 200))
    whole = np.asarray(opened(explain(image, one_place(), 0))).astype(float)
    plain = np.asarray(opened(explain(image, one_place(), 0, part="image")))
    colours = np.asarray(opened(explain(image, one_place(), 0, part="map")).convert("RGBA")).astype(float)
    assert np.array_equal(plain, np.asarray(image))
    share = colours[..., 3:] / 255
    expected = (1 - share) * plain + share * colours[..., :3]
    np.testing.assert_allclose(whole[:200], expected, atol=1)
    assert whole.shape[1:] == (300, 3)
    assert 16 < whole.shape[0] - 200 < 80


def test_the_strip_holds_legible_text() -> None:
    for width in (40, 300, 900):
        whole = np.asarray(opened(explain(photo((width, 100)), one_place(), 0)))
        strip = whole[100:].astype(int).sum(axis=2)
        marked = strip > strip.max() * 0.6
        assert 0.02 < marked.mean() < 0.4
        columns, rows = np.flatnonzero(marked.any(axis=0)), np.flatnonzero(marked.any(axis=1))
        assert columns[0] > 2
        assert columns[-1] < whole.shape[1] - 3
        assert columns[-1] - columns[0] > 150
        assert rows[0] > 1
        assert rows[-1] < len(strip) - 2


@pytest.mark.parametrize("part", ["overlay", "map", "image"])
def test_the_caution_travels_with_the_file(part: str) -> None:
    found = opened(explain(photo(), one_place(), 0, part=part))
    assert found.format == "PNG"
    assert found.text == {"Caution": CAUTION}
    assert "not where the lesion is" in CAUTION


def test_large_images_are_reduced() -> None:
    found = opened(explain(photo((3000, 1500)), one_place(), 0, part="image"))
    assert found.size == (LONGEST, LONGEST // 2)


# Sanity checks: Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018


def pictures(n: int = 24) -> list[np.ndarray]:
    return [stripes(i % 2, i, 64, 64)[..., None].repeat(3, axis=2) for i in range(n)]


@functools.cache
def trained() -> Classifier:
    """A classifier whose head is fitted to which way the stripes run."""
    known = backbone(PLAIN)
    features = np.stack([outputs["features"] for outputs in known.engine().stream(pictures())])
    (head,) = fit_logistic(features, np.arange(24) % 2, 2, [1e-4], candidate())
    return stored(known.network(), head)


def stored(network: object, head: Head) -> Classifier:
    from diascope.assembly import store_classifier

    known = backbone(PLAIN)
    return store_classifier(network, head, known.info, classifier_info(known.info.size), scratch())


def drawn(found: Classifier, class_index: int) -> np.ndarray:
    maps = [outputs["activation_map"] for outputs in found.stream(pictures(6))]
    return np.stack([opacity(each, class_index, (64, 64)) for each in maps]).astype(float)


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def test_another_class_has_another_map() -> None:
    first, second = (drawn(trained(), CLASSES.index(name)) for name in CLASSES)
    assert first.max() > 50
    assert second.max() > 50
    assert likeness(first, second) < 0.2


@pytest.mark.parametrize("randomised", ["head", "backbone"])
def test_randomised_weights_give_another_map(randomised: str) -> None:
    rng = np.random.default_rng(0)
    network = backbone(PLAIN).network()
    features = np.stack([outputs["features"] for outputs in backbone(PLAIN).engine().stream(pictures())])
    (head,) = fit_logistic(features, np.arange(24) % 2, 2, [1e-4], candidate())
    assert likeness(drawn(stored(network, head), 0), drawn(trained(), 0)) > 0.99
    if randomised == "head":
        weights, bias = head.layers[0]
        head = Head([(rng.permuted(weights, axis=0), bias)], head.scaling)
    else:
        inner = network.get_layer("backbone")
        inner.set_weights([rng.permuted(w.ravel()).reshape(w.shape) for w in inner.get_weights()])
    assert likeness(drawn(stored(network, head), 0), drawn(trained(), 0)) < 0.5
