"""Which layers of a network are pooled where nobody says which?"""

import functools
from typing import Any

import pytest
from tiny import backbone, spec

from diascope import taps
from diascope.backbones import load_backbone
from diascope.taps import find_layers


@functools.cache
def small() -> Any:
    """A network with a bottleneck, a gate and a linear activation, of 8, 4 and 4 positions at 8 px."""
    import keras
    from keras import layers

    image = keras.Input((None, None, 3))
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="first")(image)
    x = layers.Conv2D(16, 3, strides=2, padding="same", name="plain")(x)
    x = layers.ReLU(name="wide")(x)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = layers.Multiply()([x, layers.Conv2D(16, 1, activation="sigmoid", name="gate")(gate)])
    x = layers.Conv2D(4, 1, activation="relu", name="bottleneck")(x)
    x = layers.Activation("linear", name="nothing")(x)
    x = layers.Conv2D(12, 3, padding="same", activation="gelu", name="late")(x)
    x = layers.BatchNormalization(name="output")(x)
    return keras.Model(image, x)


def test_the_output_comes_first_and_then_what_non_linearities_leave_the_latest_first() -> None:
    assert find_layers(small(), 8, 1) == ["last", "late", "wide", "first"]


def test_where_there_is_no_room_for_all_layers_early_ones_are_thinned_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taps, "MOST_FEATURES", 2 * (12 + 12 + 16 + 8))
    assert find_layers(small(), 8, 2) == ["last", "late", "wide", "first"]
    assert find_layers(small(), 8, 3) == ["last", "late", "first"]
    assert find_layers(small(), 8, 4) == ["last", "late"]
    assert find_layers(small(), 8, 100) == ["last"]
    monkeypatch.setattr(taps, "MOST_LAYERS", 2)
    assert find_layers(small(), 8, 1) == ["last", "late"]


def test_a_wide_network_reaches_as_far_back_as_a_narrow_one(monkeypatch: pytest.MonkeyPatch) -> None:
    network = load_backbone("MobileNetV2", "none", 0.35, 0, 1)
    all_ = find_layers(network, 224, 6)
    monkeypatch.setattr(taps, "MOST_FEATURES", 15_000)
    some = find_layers(network, 224, 6)
    assert some[:2] == all_[:2]
    assert some[-1] not in all_[:-6]
    assert 5 <= len(some) <= 9


def test_only_the_coarsest_resolutions_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taps, "RESOLUTIONS", 1)
    assert find_layers(small(), 8, 1) == ["last", "late", "wide"]


def test_a_pretrained_network_gives_the_ends_of_its_blocks() -> None:
    found = find_layers(load_backbone("MobileNetV2", "none", 0.35, 0, 1), 224, 6)
    assert found[:4] == ["last", "block_16_depthwise_relu", "block_16_expand_relu", "block_15_depthwise_relu"]
    assert len(found) == 24
    assert "out_relu" not in found  # that is the output


def test_an_output_behind_no_non_linearity_is_enough() -> None:
    import keras

    image = keras.Input((None, None, 3))
    assert find_layers(keras.Model(image, keras.layers.Conv2D(5, 1)(image)), 32, 1) == ["last"]


def test_a_network_is_built_with_the_layers_that_were_found() -> None:
    found = backbone(spec(layers=["auto"]))
    assert [block.layer for block in found.info.blocks] == ["last", "re_lu_3", "re_lu_2", "re_lu_1"]
    assert found.info.spec.layers == ["auto"]
    assert found.info.dimension == 96 + 96 + 64 + 32
