"""How is a network fitted by gradient descent?"""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from tiny import candidate, compact, random_head, spec, stripes

from diascope.augmentation import augmented as attach_augmentation
from diascope.batches import Batches, store_pixels
from diascope.calibration import softmax
from diascope.descent_settings import Augmentation
from diascope.errors import InputError
from diascope.features import FeatureSpec, build_network
from diascope.gradient import fit_mlp, fit_network, predict_logits
from diascope.heads import class_weights
from diascope.metrics import log_loss, macro_auroc
from diascope.rows import Rows


def pixels(n: int, side: int = 32) -> np.ndarray:
    return np.stack([stripes(i % 2, i, side, side)[..., None].repeat(3, axis=2) for i in range(n)])


def labels(n: int) -> np.ndarray:
    return np.arange(n) % 2


def exclusive_or(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A problem that no linear head can solve: the classes are opposite corners of a square."""
    x = np.random.default_rng(seed).uniform(-1, 1, (n, 2)).astype(np.float32)
    return x * 3 + 50, (x[:, 0] * x[:, 1] > 0).astype(np.int64)


def noise(n: int, d: int = 30, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels that have nothing to do with the features: all that can be learnt does not hold."""
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32), labels(n)


def mlp(**options: Any) -> Any:
    plain = {"head": "mlp", "hidden_units": 16, "learning_rate": 0.02, "weight_decay": 0.0, "epochs": 40}
    return candidate(**{**plain, **options})


def split(n: int, stopping: int) -> Rows:
    return Rows(np.arange(n - stopping), np.arange(n - stopping, n))


# A hidden layer


def test_a_hidden_layer_solves_what_a_linear_head_cannot() -> None:
    x, y = exclusive_or(300)
    head, curve = fit_mlp(x, y, 2, split(250, 50), mlp(), seed=1)
    assert macro_auroc(y[250:], softmax(head.logits(x[250:]))) > 0.97
    assert [point.x for point in curve] == list(range(1, len(curve) + 1))
    assert curve[-1].loss < 0.5 * curve[0].loss
    assert all(point.held_out_loss is not None for point in curve)


def test_one_seed_gives_the_same_numbers_and_another_does_not() -> None:
    x, y = exclusive_or(60)
    fits = []
    for number, seed in enumerate((4, 4, 5)):
        keras.utils.set_random_seed(number)  # what else the process did does not matter
        fits.append(fit_mlp(x, y, 2, split(60, 20), mlp(epochs=3, dropout=0.3), seed))
    (one, first), (same, second), (other, third) = fits
    assert np.array_equal(one.logits(x), same.logits(x))
    assert not np.allclose(one.logits(x), other.logits(x))
    assert first == second != third


def test_early_stopping_goes_back_to_the_best_epoch() -> None:
    x, y = noise(80)
    config = mlp(early_stopping=4, epochs=60)
    head, curve = fit_mlp(x, y, 2, split(80, 40), config, seed=2)
    held_out = [point.held_out_loss or 0 for point in curve]
    best = int(np.argmin(held_out))
    assert len(curve) == best + 1 + 4 < 60
    assert held_out[-1] > held_out[best] + 0.01
    assert log_loss(y[40:], softmax(head.logits(x[40:]))) == pytest.approx(held_out[best], abs=1e-4)


def test_without_early_stopping_the_last_epoch_counts() -> None:
    x, y = noise(80)
    head, curve = fit_mlp(x, y, 2, split(80, 40), mlp(early_stopping=0, epochs=15), seed=2)
    assert len(curve) == 15
    assert log_loss(y[40:], softmax(head.logits(x[40:]))) == pytest.approx(curve[-1].held_out_loss, abs=1e-4)


def test_a_final_fit_takes_as_many_epochs_as_it_is_told() -> None:
    x, y = noise(40)
    _, curve = fit_mlp(x, y, 2, Rows(np.arange(40), epochs=3), mlp(), seed=2)
    assert [(point.x, point.held_out_loss) for point in curve] == [(1, None), (2, None), (3, None)]


def test_only_the_named_rows_count() -> None:
    x, y = noise(60)
    changed = x.copy()
    changed[40:] = 1e6
    heads = [fit_mlp(each, y, 2, Rows(np.arange(40)), mlp(epochs=2), seed=3)[0] for each in (x, changed)]
    assert np.array_equal(heads[0].logits(x[:40]), heads[1].logits(x[:40]))


def test_a_loss_that_is_no_number_is_the_users_to_mend() -> None:
    x, y = noise(40)
    with pytest.raises(InputError, match=r"wild.*learning_rate"):
        fit_mlp(x, y, 2, split(40, 10), mlp(name="wild", learning_rate=1e30), seed=1)


def test_class_weights_lift_the_rare_class() -> None:
    rng = np.random.default_rng(0)
    y = (np.arange(300) % 10 == 0).astype(np.int64)
    x = (rng.normal(size=(300, 3)) + y[:, None]).astype(np.float32)
    called = {}
    for weights in ("balanced", "none"):
        head, _ = fit_mlp(x, y, 2, Rows(np.arange(300)), mlp(class_weights=weights, epochs=15), seed=1)
        called[weights] = softmax(head.logits(x))[:, 1].mean()
    assert called["none"] == pytest.approx(0.1, abs=0.04)
    assert called["balanced"] > 1.8 * called["none"]


def test_weight_decay_holds_weights_down() -> None:
    x, y = noise(60)
    sizes = [
        np.abs(fit_mlp(x, y, 2, Rows(np.arange(60)), mlp(weight_decay=decay), seed=1)[0].layers[-1][0]).mean()
        for decay in (0.0, 3.0)
    ]
    assert sizes[1] < 0.7 * sizes[0]


# Batches


def test_batches_bring_every_row_once_an_epoch_in_another_order() -> None:
    rows = np.arange(3, 25)
    batches = Batches(np.arange(40) * 10, labels(40), rows, np.arange(3, 25), batch_size=8, seed=1)
    assert len(batches) == 3
    epochs = []
    for epoch in range(2):
        batches.start(epoch)
        parts = [batches[i] for i in range(len(batches))]
        assert [len(x) for x, _, _ in parts] == [8, 8, 6]
        assert all(np.array_equal(y, x // 10 % 2) and np.array_equal(w, x // 10) for x, y, w in parts)
        assert sorted(np.concatenate([x for x, _, _ in parts]) // 10) == rows.tolist()
        epochs.append([set(x) for x, _, _ in parts])
    assert epochs[0] != epochs[1]


def test_balanced_batches_give_each_class_the_same_total() -> None:
    y = np.array([0, 0, 0, 0, 0, 1, 2, 2])
    weights = class_weights(y, 3, candidate(class_weights="balanced"))[y]
    _, found, weights = Batches(np.arange(8), y, np.arange(8), weights, batch_size=8, seed=1)[0]
    totals = [weights[found == c].sum() for c in range(3)]
    np.testing.assert_allclose(totals, 8 / 3, rtol=1e-6)


# Networks


@pytest.fixture(scope="module")
def learnt() -> list[tuple[Any, list[Any]]]:
    """The compact network, trained twice in the same way."""
    config = compact(learning_rate=3e-3, batch_size=8, epochs=8, dropout=0.1, class_weights="none")
    fits = []
    for _ in range(2):
        network, _ = build_network(FeatureSpec.of(config), seed=3)
        model, state = fit_network(network, pixels(80), labels(80), 2, split(56, 16), config, seed=3)
        fits.append((model, state.curve))
    return fits


def test_the_compact_network_learns_what_is_plain_to_see(learnt: list[tuple[Any, list[Any]]]) -> None:
    model, curve = learnt[0]
    logits = predict_logits(model, pixels(80), np.arange(56, 80))
    assert macro_auroc(labels(24), softmax(logits)) > 0.98
    assert curve[-1].loss < 0.5 * curve[0].loss


def test_a_network_is_trained_twice_alike(learnt: list[tuple[Any, list[Any]]]) -> None:
    (one, first), (other, second) = learnt
    assert first == second
    assert all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


def test_a_network_goes_back_to_its_best_epoch(learnt: list[tuple[Any, list[Any]]]) -> None:
    model, curve = learnt[0]
    logits = predict_logits(model, pixels(80), np.arange(40, 56))
    best = min(point.held_out_loss for point in curve)
    assert log_loss(labels(16), softmax(logits)) == pytest.approx(best, abs=1e-3)


def untrained() -> tuple[keras.Model, keras.Model]:
    """A network that stands for a pretrained one, and its backbone."""
    network, _ = build_network(spec(image_sizes=[32]), seed=3)
    return network, network.get_layer("backbone")


def features(network: keras.Model, images: np.ndarray) -> np.ndarray:
    return network(images, training=False)[0].numpy()


def test_fine_tuning_changes_the_top_layers_alone_and_no_batch_statistics() -> None:
    top = 8  # two of the four blocks
    config = candidate(fine_tune_layers=top, learning_rate=1e-2, epochs=2, batch_size=8)
    network, body = untrained()
    before = {layer.name: layer.get_weights() for layer in body.layers}
    images, head = pixels(24), random_head(96, 2)
    start = features(network, images)
    model, _ = fit_network(network, images, labels(24), 2, Rows(np.arange(24)), config, seed=3, head=head)
    changed = {
        layer.name
        for layer in body.layers
        if any(not np.array_equal(a, b) for a, b in zip(before[layer.name], layer.get_weights(), strict=True))
    }
    trainable = {layer.name for layer in body.layers[-top:] if layer.get_weights()}
    frozen = {layer.name for layer in body.layers[-top:] if isinstance(layer, keras.layers.BatchNormalization)}
    assert (len(trainable), len(frozen)) == (4, 2)
    assert changed == trainable - frozen
    assert not np.allclose(model.get_layer("logits").get_weights()[0], head.layers[0][0])
    assert not np.allclose(features(network, images), start, atol=1e-3)


def test_training_starts_from_the_head_that_is_given() -> None:
    config = candidate(fine_tune_layers=1, learning_rate=1e-12, epochs=1)
    network, _ = untrained()
    images, head = pixels(8), random_head(96, 2)
    expected = head.logits(features(network, images))
    model, _ = fit_network(network, images, labels(8), 2, Rows(np.arange(8)), config, seed=3, head=head)
    assert expected.std() > 0.1
    np.testing.assert_allclose(predict_logits(model, images, np.arange(8)), expected, atol=1e-4)


def test_logits_come_in_the_order_of_the_rows_whatever_the_batch(learnt: list[tuple[Any, list[Any]]]) -> None:
    model, _ = learnt[0]
    images, rows = pixels(12), np.array([7, 2, 11, 0, 5])
    whole = model(images, training=False).numpy()
    for batch in (2, 32):
        np.testing.assert_allclose(predict_logits(model, images, rows, batch), whole[rows], atol=1e-4)


# Augmentation


def augmented(images: np.ndarray, training: bool, seed: int = 0, **options: Any) -> np.ndarray:
    image = keras.Input(images.shape[1:], dtype="uint8")
    model = keras.Model(image, attach_augmentation(image, Augmentation.model_validate(options), seed))
    return np.asarray(model(images, training=training))


def test_without_augmentation_pixels_stay_as_they_are() -> None:
    assert np.array_equal(augmented(pixels(3), training=True), pixels(3))


CHANGES = {
    "horizontal_flip": True,
    "vertical_flip": True,
    "rotation_degrees": 30.0,
    "zoom": 0.3,
    "shift": 0.2,
    "elastic": 0.1,
    "contrast": 0.5,
    "brightness": 0.3,
    "gamma": 0.5,
    "noise": 0.1,
}


@pytest.mark.parametrize("name", list(CHANGES))
def test_an_augmentation_changes_images_in_training_alone(name: str) -> None:
    images = pixels(8)
    option = {name: CHANGES[name]}
    changed = augmented(images, training=True, **option)
    assert changed.shape == images.shape
    assert np.isfinite(changed).all()
    assert (changed.min(), changed.max()) >= (0, 100)
    assert changed.max() <= 255.001
    assert (np.abs(changed - images).max(axis=(1, 2, 3)) > 1).sum() >= 2
    assert np.array_equal(augmented(images, training=True, **option), changed)
    assert not np.array_equal(augmented(images, training=True, seed=5, **option), changed)
    assert np.array_equal(augmented(images, training=False, **option), images)


def test_flips_are_flips() -> None:
    images = pixels(8)
    mirrored = {"horizontal_flip": images[:, :, ::-1], "vertical_flip": images[:, ::-1]}
    for name, flipped in mirrored.items():
        changed = augmented(images, training=True, **{name: True})
        either = [
            np.array_equal(one, plain) or np.array_equal(one, other)
            for one, plain, other in zip(changed, images, flipped, strict=True)
        ]
        assert all(either)


def test_rotation_stays_within_its_degrees() -> None:
    bar = np.zeros((16, 33, 33, 3), np.uint8)
    bar[:, 15:18, 2:31] = 255
    changed = augmented(bar, training=True, rotation_degrees=20.0)[..., 0]
    rows, columns = np.mgrid[:33, :33] - 16
    angles = []
    for one in changed:
        weight = one / one.sum()
        spread = 2 * (weight * rows * columns).sum(), (weight * (columns**2 - rows**2)).sum()
        angles.append(abs(np.degrees(np.arctan2(*spread) / 2)))
    assert 5 < max(angles) < 21


def test_gamma_raises_values_to_a_power() -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8)[:, None, None], (40, 1, 1, 3))
    changed = augmented(ramp, training=True, gamma=0.4)[:, :, 0, 0] / 255
    powers = np.log(changed[:, 64]) / np.log(64 / 255)
    for one, power in zip(changed, powers, strict=True):
        np.testing.assert_allclose(one, (np.arange(256) / 255) ** power, atol=1e-4)
    assert 0.6 - 1e-4 <= powers.min() < 0.75
    assert 1.3 < powers.max() <= 1 / 0.6 + 1e-4
    assert abs(np.log(powers).mean()) < 0.2  # as often below 1 as above


def test_noise_has_its_deviation_and_no_colour() -> None:
    grey = np.full((4, 64, 64, 3), 128, np.uint8)
    change = augmented(grey, training=True, noise=0.05) - grey
    assert np.array_equal(change[..., 0], change[..., 1])
    assert np.array_equal(change[..., 0], change[..., 2])
    assert change.std() == pytest.approx(0.05 * 255, rel=0.05)
    assert abs(change.mean()) < 1


def test_brightness_is_one_amount_for_an_image() -> None:
    grey = np.full((30, 8, 8, 3), 128, np.uint8)
    change = augmented(grey, training=True, brightness=0.2) - grey
    amounts = change[:, 0, 0, 0]
    assert np.abs(change - amounts[:, None, None, None]).max() < 1e-3
    assert 30 < np.abs(amounts).max() <= 0.2 * 255 + 1e-3


def test_an_elastic_change_moves_neighbours_together_and_not_too_far() -> None:
    rows, columns = np.mgrid[:64, :64]
    ramp = np.stack([2 * rows + 60, 2 * columns + 60, 0 * rows], axis=-1).astype(np.uint8)[None].repeat(8, axis=0)
    changed = augmented(ramp, training=True, elastic=0.05)[:, 8:-8, 8:-8, :2]
    moved = (changed - ramp[:, 8:-8, 8:-8, :2]) / 2  # pixels, downwards and to the right
    assert 1 < np.abs(moved).max() <= 1.3 * 0.05 * 64  # a bicubic field overshoots a little
    assert max(np.abs(np.diff(moved, axis=axis)).max() for axis in (1, 2)) < 1
    assert moved.std(axis=(1, 2)).min() > 0.2


# Pixels on disk


def test_pixels_are_mapped_from_disk(tmp_path: Path) -> None:
    images = pixels(5)
    found = store_pixels(tmp_path / "pixels.npy", iter(images), 5, 32)
    assert isinstance(found, np.memmap)
    assert np.array_equal(found, images)
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 0
