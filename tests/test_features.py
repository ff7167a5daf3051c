"""What does the frozen backbone see?"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import CLASSES, PLAIN, RICH, backbone, candidate, compact, png, row, spec, striped, stripes, write_dataset

from diascope import features as module
from diascope import images
from diascope.dataset import Dataset
from diascope.engine import cpu_count
from diascope.errors import InputError
from diascope.features import Backbone, Features, FeatureSpec, build_network, decoded, extract_features

DEVELOPMENT = ("train", "validation")


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Features:
    return extract_features(striped(), backbone(RICH), DEVELOPMENT, tmp_path_factory.mktemp("features"))


def seen(dataset: Dataset, splits: tuple[str, ...], size: int) -> np.ndarray:
    """The pixels of some splits, one image at a time."""
    batches = dataset.images(*splits)
    pixels = [images.resize(images.decode(data), size) for _, batch in batches for data in batch]
    return np.stack(pixels)


def pooled(feature_map: np.ndarray, pooling: str) -> np.ndarray:
    return {"avg": np.mean, "max": np.max, "std": np.std}[pooling](feature_map.astype(np.float64), axis=(1, 2))


def test_features_are_what_keras_computes(rich: Features) -> None:
    pixels = seen(striped(), DEVELOPMENT, 96)
    wanted = backbone(RICH).network()(pixels, training=False)[0].numpy()
    assert rich.array().dtype == np.float32
    assert wanted.std(axis=0).max() > 0.01
    np.testing.assert_allclose(rich.array(), wanted, atol=1e-5)


def test_every_block_is_one_pooling_of_one_map_at_one_size_scaled_to_length_one(rich: Features) -> None:
    network = backbone(RICH).network()
    pixels = seen(striped(), DEVELOPMENT, 96)
    maps = dict(zip((96, 64), [m.numpy() for m in network(pixels, training=False)[1:]], strict=True))
    blocks = rich.backbone.blocks
    assert [(block.size, block.pooling) for block in blocks] == [
        (size, pooling) for size in (96, 64) for pooling in ("avg", "max", "std")
    ]
    assert [block.start for block in blocks] == [0, *(block.stop for block in blocks[:-1])]
    assert blocks[-1].stop == rich.array().shape[1] == rich.backbone.dimension
    for block in blocks:
        wanted = pooled(maps[block.size], block.pooling)
        wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
        np.testing.assert_allclose(rich.array()[:, block.start : block.stop], wanted, atol=1e-5)


def test_a_smaller_size_is_the_resized_image_through_the_same_network() -> None:
    import tensorflow as tf

    network = backbone(RICH).network()
    pixels = seen(striped(), ("train",), 96)[:3]
    small = tf.image.resize(pixels.astype(np.float32), (64, 64), antialias=False).numpy()
    feature_map = network.get_layer("backbone")(small / 127.5 - 1, training=False)
    np.testing.assert_allclose(network(pixels, training=False)[2], feature_map, atol=1e-5)


def test_a_known_architecture_gets_the_pixels_it_was_made_for_and_its_layers_are_pooled() -> None:
    import keras

    from diascope.backbones import load_backbone

    layer = "block_6_expand_relu"
    wanted = spec(backbone="MobileNetV2", alpha=0.35, image_sizes=[64], layers=[layer, "last"], feature_norm="l2")
    network, blocks = build_network(wanted, seed=11)
    own = load_backbone("MobileNetV2", "none", 0.35, 0, seed=11)
    pixels = seen(striped(), ("validation",), 64)
    prepared = keras.applications.mobilenet_v2.preprocess_input(pixels.astype(np.float32))
    maps = keras.Model(own.input, [own.get_layer(layer).output, own.output])(prepared, training=False)
    vectors = [m.numpy().mean(axis=(1, 2)) for m in maps]
    expected = np.hstack([vector / np.linalg.norm(vector, axis=1, keepdims=True) for vector in vectors])
    assert [block.layer for block in blocks] == [layer, "last"]
    np.testing.assert_allclose(network(pixels, training=False)[0], expected, atol=1e-4)


def test_rows_stand_in_the_order_of_the_dataset(rich: Features) -> None:
    index = striped().index()
    index = index[index["split"] != "test"]
    assert rich.sample_ids == index["sample_id"].tolist()
    assert rich.samples["label"] == index["label"].tolist()
    assert rich.samples["split"] == index["split"].tolist()
    assert rich.description["image_sizes"] == [96, 64]


def test_the_test_split_is_not_read(tmp_path: Path) -> None:
    rows = [row(f"train/{i}.png", CLASSES[i % 2], "train", png(stripes(i % 2, i))) for i in range(5)]
    poisoned = [row(f"test/{i}.png", CLASSES[i % 2], "test", b"poison") for i in range(5)]
    dataset = write_dataset(tmp_path, [*rows[:3], *poisoned, *rows[3:]], row_group=4)
    stored = tmp_path / "features"
    stored.mkdir()
    found = extract_features(dataset, backbone(PLAIN), DEVELOPMENT, stored)
    assert found.array().shape == (5, 96)
    with pytest.raises(InputError, match="test/0"):
        list(decoded(dataset, ("test",), PLAIN))


def test_only_a_few_images_are_in_memory(tmp_path: Path) -> None:
    dataset = striped()
    taken = stored = most = 0

    class Long:
        info = dataset.info

        def index(self) -> Any:
            return dataset.index().sample(600, replace=True, random_state=1).assign(split="train")

        def images(self, *_: str) -> Iterator[tuple[list[str], list[bytes]]]:
            nonlocal taken
            data = png(stripes(0, 1))
            for number in range(600):
                taken += 1
                yield [str(number)], [data]

    def watch(_: str, done: int, __: int) -> None:
        nonlocal most, stored
        stored, most = done, max(most, taken - done)

    extract_features(Long(), backbone(PLAIN), ("train",), tmp_path, watch)
    assert stored == taken == 600
    assert most <= 8 * cpu_count()


def test_a_stored_backbone_says_what_it_is_and_costs() -> None:
    known = backbone(RICH)
    again = Backbone(known.root)
    assert again.info == known.info
    assert (known.info.size, known.info.dimension) == (96, 6 * 96)
    assert known.info.parameters == known.network().count_params()
    assert known.info.precision == "f32"
    assert known.info.milliseconds > 0
    assert known.info.megabytes == pytest.approx(4 * known.info.parameters / 1e6, rel=0.1)


def test_appearance_is_what_the_last_layer_sees_on_average(rich: Features) -> None:
    block = next(b for b in rich.backbone.blocks if (b.size, b.pooling) == (64, "avg"))
    assert np.array_equal(rich.appearance(), rich.array()[:, block.start : block.stop])


def test_candidates_share_features_that_are_the_same() -> None:
    key = FeatureSpec.of(candidate()).key
    same = [
        candidate(name="other", head="mlp", dropout=0.5, weight_decay=0.1, epochs=3, class_weights="none"),
        candidate(image_sizes=[32], learning_rate=0.1, batch_size=8, early_stopping=3),
    ]
    others = [
        candidate(alpha=0.5),
        candidate(image_sizes=[64]),
        candidate(layers=["block_6_expand_relu"]),
        candidate(pooling=["max"]),
        candidate(feature_norm="none"),
        candidate(weights="imagenet"),
        candidate(backbone="MobileNet"),
    ]
    assert {FeatureSpec.of(one).key for one in same} == {key}
    keys = [key, *(FeatureSpec.of(one).key for one in others)]
    assert len(set(keys)) == len(keys)
    assert FeatureSpec.model_validate_json(key) == FeatureSpec.of(candidate())


def test_the_largest_size_is_the_input() -> None:
    sizes = FeatureSpec.of(candidate(image_sizes=[32, 96, 64])).image_sizes
    assert sizes == [96, 64, 32]
    assert FeatureSpec.of(candidate(image_sizes=[])).image_sizes == [224]


def test_a_network_that_is_trained_has_its_own_features() -> None:
    trained = FeatureSpec.of(compact(dropout=0.3))
    assert (trained.dropout, trained.feature_norm) == (0.3, "none")
    assert FeatureSpec.of(candidate(dropout=0.3)).dropout == 0
    assert FeatureSpec.of(candidate(fine_tune_layers=2)).feature_norm == "none"


def test_the_users_own_weights_are_told_from_the_known_ones(tmp_path: Path) -> None:
    known = [FeatureSpec.of(candidate(weights=weights)).has_weights_file for weights in ("none", "imagenet", "a.h5")]
    assert known == [False, False, True]


def test_an_unknown_layer_is_named_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"'max_poolin2d'.*nearest is 'max_pooling2d'"):
        build_network(spec(layers=["max_poolin2d"]), seed=1)


def test_a_layer_without_positions_cannot_be_pooled(monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    image = keras.Input((None, None, 3))
    flat = keras.Model(image, keras.layers.GlobalAveragePooling2D(name="flat")(image))
    monkeypatch.setattr(module, "load_backbone", lambda *_: flat)
    with pytest.raises(InputError, match=r"'flat'.*no spatial positions"):
        build_network(spec(layers=["flat"]), seed=1)


def test_a_block_of_zeros_stays_zero(tmp_path: Path) -> None:
    """Nothing divides by its length."""
    import keras

    from diascope.engine import Engine, export

    network, _ = build_network(spec(feature_norm="l2", pooling=["avg", "std"]), seed=1)
    network.get_layer("backbone").set_weights([np.zeros_like(w) for w in network.get_layer("backbone").get_weights()])
    export(keras.Model(network.input, network.outputs[0]), tmp_path / "zero.xml", ["features"])
    (answer,) = Engine(tmp_path / "zero.xml").stream([stripes(0, 1, 64, 64)[..., None].repeat(3, axis=2)])
    assert not answer["features"].any()
