"""How does a tutorial train a network?"""

from typing import Any

import keras
import numpy as np
import pytest
from pydantic import ValidationError
from tiny import backbone, candidate, classifier_info, compact, groups, scratch, striped, stripes

from diascope.assembly import store_classifier
from diascope.calibration import softmax
from diascope.candidates import refit, train_candidate
from diascope.classifier import Classifier
from diascope.config import CandidateConfig, SelectionConfig
from diascope.development import Development
from diascope.features import FeatureSpec, build_network
from diascope.heads import Head
from diascope.original import fit_original
from diascope.rows import Rows

PIXELS = np.stack([stripes(i // 2 % 2, i, 32, 32)[..., None].repeat(3, axis=2) for i in range(34)])
LABELS = np.arange(34) // 2 % 2


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIASCOPE_CACHE", str(scratch()))


def tutorial(**options: Any) -> CandidateConfig:
    return compact(original={"optimizer": "sgd", "learning_rate": 0.05, "epochs": 3, "batch_size": 8, **options})


def fit(config: CandidateConfig, rows: np.ndarray) -> tuple[keras.Model, keras.Model, Head, list[float]]:
    network, _ = build_network(FeatureSpec.of(config), seed=3)
    model, head, state = fit_original(network, PIXELS, LABELS, 2, Rows(rows), config, seed=3)
    return network, model, head, [point.loss for point in state.curve]


KERAS = {"sgd": keras.optimizers.SGD, "adamw": keras.optimizers.AdamW, "rmsprop": keras.optimizers.RMSprop}


@pytest.mark.parametrize("optimizer", list(KERAS))
def test_it_is_what_keras_does_with_the_same_layers(optimizer: str) -> None:
    """RGB / 255, frozen network, flattened, one softmax layer: written down as tutorials do."""
    config = tutorial(batch_size=24, optimizer=optimizer)  # one batch an epoch, so that its order does not matter
    network, _, head, losses = fit(config, np.arange(24))
    frozen = network.get_layer("backbone")
    assert not frozen.trainable_weights
    keras.utils.set_random_seed(3)
    inputs = keras.Input((32, 32, 3))
    flat = keras.layers.Flatten()(frozen(inputs, training=False)[0])
    plain = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(flat))
    plain.compile(KERAS[optimizer](0.05), "sparse_categorical_crossentropy")
    history = plain.fit(PIXELS[:24] / 255.0, LABELS[:24], batch_size=24, epochs=3, shuffle=False, verbose=0).history
    np.testing.assert_allclose(losses, history["loss"], rtol=1e-4)
    np.testing.assert_allclose(head.layers[0][0], plain.layers[-1].get_weights()[0], atol=1e-5)


def test_pixels_may_follow_the_networks_convention() -> None:
    convention = {
        pixels: build_network(FeatureSpec.of(tutorial(pixels=pixels)), 3)[0].get_layer("input_convention").get_weights()
        for pixels in ("unit", "network")
    }
    white = {pixels: np.full(3, 255.0) @ w[0, 0] + b for pixels, (w, b) in convention.items()}
    black = {pixels: b for pixels, (_, b) in convention.items()}
    np.testing.assert_allclose([white["unit"], black["unit"]], [[1] * 3, [0] * 3], atol=1e-6)
    np.testing.assert_allclose([white["network"], black["network"]], [[1] * 3, [-1] * 3], atol=1e-6)


def test_hidden_layers_have_dropout_after_them_and_the_head_is_all_of_it() -> None:
    config = tutorial(pooling="avg", dense=[5, 4], dropout=0.5)
    network, model, head, _ = fit(config, np.arange(24))
    kinds = [type(layer).__name__ for layer in model.layers[-5:]]
    assert kinds == ["Dense", "Dropout", "Dense", "Dropout", "Dense"]
    assert [weights.shape for weights, _ in head.layers] == [(96, 5), (5, 4), (4, 2)]
    features = network(PIXELS, training=False)[0].numpy()
    np.testing.assert_allclose(head.logits(features), model(PIXELS, training=False).numpy(), atol=1e-5)
    _, plain, _, _ = fit(tutorial(pooling="max", dropout=0.2), np.arange(24))
    assert [type(layer).__name__ for layer in plain.layers[-2:]] == ["Dropout", "Dense"]


@pytest.mark.parametrize(("trained", "expected"), [(0, 0), (4, 1), ("all", 4)])
def test_as_many_layers_learn_as_are_asked_for_batch_norm_too(trained: Any, expected: int) -> None:
    network, _, _, _ = fit(tutorial(pooling="avg", trained_layers=trained, epochs=1), np.arange(24))
    layers = network.get_layer("backbone").layers
    for kind in (keras.layers.Conv2D, keras.layers.BatchNormalization):
        assert sum(bool(layer.trainable_weights) for layer in layers if isinstance(layer, kind)) == expected
    means = [w.get_weights()[2] for w in layers if isinstance(w, keras.layers.BatchNormalization)]
    assert sum(bool(mean.any()) for mean in means) == expected  # statistics begin at 0


def test_it_is_compared_fitted_on_the_train_split_alone_stored_and_answers() -> None:
    config = tutorial(epochs=2)
    known = backbone(FeatureSpec.of(config.model_copy(update={"image_sizes": [32]})))
    selection = SelectionConfig(method="validation")
    made = train_candidate(config, known, striped(), None, groups(striped()), selection, 3, scratch())
    assert made.result.chosen == {"epochs": 2}
    assert len(made.result.curve) == 2
    assert "trained as in the tutorial (backbone frozen, sgd at 0.05, 2 epochs)" in made.result.description
    network, head = refit(made, known, striped(), None, groups(striped()), 3)
    rows, logits = made.out_of_fold()
    development = Development.of(striped(), groups(striped()))
    assert sorted(rows) == np.flatnonzero(development.validation).tolist()
    found = store_classifier(network, head, known.info, classifier_info(32), scratch())
    names = [development.sample_ids[row] for row in rows]
    images = striped().read(names)
    answers = list(Classifier.load(found.root).stream([images[name] for name in names]))
    # The same fit again, of the train split: its answers to the validation split are those of the comparison.
    np.testing.assert_allclose([each["probabilities"] for each in answers], softmax(logits), atol=1e-3)
    assert found.info.activation_map
    assert found.info.activation_map.exact
    means = np.array([each["activation_map"].mean(axis=(0, 1)) for each in answers]) + head.layers[0][1]
    np.testing.assert_allclose(means, logits, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "key"),
    [({"epochs": 5}, "epochs"), ({"fine_tune_layers": 3}, "fine_tune_layers"), ({"head": "ridge"}, "head")],
)
def test_other_keys_of_training_have_no_say(options: dict[str, Any], key: str) -> None:
    with pytest.raises(ValidationError, match=f"{key} has no effect beside `original`"):
        candidate(original={}, **options)


def test_it_survives_being_written_down() -> None:
    config = tutorial(trained_layers="all", dense=[3])
    assert CandidateConfig.model_validate_json(config.model_dump_json()) == config
