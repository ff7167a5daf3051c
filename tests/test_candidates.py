"""How are candidates fitted, compared on training data alone, and the winner refitted?"""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss, roc_auc_score
from tiny import (
    CLASSES,
    PLAIN,
    backbone,
    candidate,
    compact,
    groups,
    imagined,
    row,
    scratch,
    striped,
    stripes,
    write_dataset,
)

from diascope.calibration import fit_temperature, softmax
from diascope.candidates import TrainedCandidate, describe, refit, train_candidate
from diascope.config import CandidateConfig, SelectionConfig
from diascope.dataset import Dataset
from diascope.development import Development
from diascope.errors import InputError
from diascope.features import Backbone, Features
from diascope.heads import WEIGHT_DECAYS, fit_logistic, fit_ridge

D = 40


@functools.cache
def drawn(n: int = 60, n_validation: int = 15, per_group: int = 1) -> Dataset:
    """A dataset whose images are never looked at; every fourth is for testing, groups mix no labels."""
    rows = []
    for i in range(n):
        split = "train" if i < n - n_validation else "validation"
        group = i // per_group
        rows.append(row(f"{split}/{i:03}", CLASSES[group % 2], split, b"", f"g{group}"))
        if i % 4 == 0:
            rows.append(row(f"test/{i:03}", CLASSES[group % 2], "test", b""))
    return write_dataset(scratch(), rows)


def separable(dataset: Dataset, distance: float = 1.0, seed: int = 0) -> np.ndarray:
    """Features (n, D) in which the classes overlap."""
    y = Development.of(dataset, groups(dataset)).labels
    rng = np.random.default_rng(seed)
    return rng.normal(size=(len(y), D)) + distance * y[:, None] * (np.arange(D) < 5)


def train(
    features: np.ndarray,
    dataset: Dataset,
    selection: dict[str, Any] | None = None,
    config: CandidateConfig | None = None,
    own: dict[str, str] | None = None,
    widths: tuple[int, ...] = (),
) -> TrainedCandidate:
    known, stored = imagined(features, dataset, widths)
    chosen = SelectionConfig.model_validate({"folds": 4, **(selection or {})})
    by_group = own or groups(dataset)
    return train_candidate(config or candidate(), known, dataset, stored, by_group, chosen, 3, scratch())


def test_development_images_are_train_and_validation_in_storage_order() -> None:
    index = drawn().index()
    kept = index[index["split"] != "test"]
    found = Development.of(drawn(), groups(drawn()))
    assert found.sample_ids == kept["sample_id"].tolist()
    assert [CLASSES[label] for label in found.labels] == kept["label"].tolist()
    assert found.groups.tolist() == kept["group"].tolist()
    assert found.validation.tolist() == (kept["split"] == "validation").tolist()
    assert not any(name.startswith("test") for name in found.sample_ids)


def test_folds_keep_groups_whole_and_hold_out_every_image_once() -> None:
    dataset = drawn(per_group=3)
    development = Development.of(dataset, groups(dataset))
    for grouped in (True, False):
        pairs = development.folds(SelectionConfig(folds=4), seed=1, grouped=grouped)
        assert sorted(np.concatenate([held_out for _, held_out in pairs])) == list(range(60))
        apart = [set(development.groups[fit]).isdisjoint(development.groups[held]) for fit, held in pairs]
        assert all(apart) is grouped


def twins() -> tuple[Dataset, np.ndarray]:
    """Nothing can be learnt but which group an image is of; the images of a group are almost the same."""
    dataset = drawn(240, 60, per_group=6)
    rng = np.random.default_rng(8)
    of_group = rng.normal(size=(40, D)).repeat(6, axis=0)
    return dataset, of_group + 0.05 * rng.normal(size=(240, D))


@pytest.mark.parametrize("head", ["logistic", "ridge", "blend"])
def test_what_only_a_twin_could_know_is_not_rewarded(head: str) -> None:
    dataset, features = twins()
    found = train(features, dataset, config=candidate(head=head, weight_decay=1e-4)).result
    assert found.plain_scores is not None
    assert found.plain_scores["auroc"] > 0.97
    assert found.scores["auroc"] < 0.7
    assert found.plain_scores["log_loss"] < 0.5 * found.scores["log_loss"]


def test_without_twins_both_ways_say_the_same() -> None:
    found = train(separable(drawn()), drawn()).result
    assert found.plain_scores is not None
    assert found.scores["auroc"] == pytest.approx(found.plain_scores["auroc"], abs=0.12)


def test_held_out_logits_come_from_a_fit_that_had_not_seen_them() -> None:
    dataset, features = twins()
    config = candidate(head="logistic", weight_decay=1e-3)
    trained = train(features, dataset, config=config)
    rows, logits = trained.out_of_fold()
    development = Development.of(dataset, groups(dataset))
    for fit, held_out in development.folds(SelectionConfig(folds=4), seed=3):
        stored = features.astype(np.float32)
        (head,) = fit_logistic(stored[fit], development.labels[fit], 2, [1e-3], config)
        place = np.array([rows.tolist().index(one) for one in held_out])
        np.testing.assert_allclose(logits[place], head.logits(stored[held_out]), atol=1e-4)


def test_scores_are_those_of_the_held_out_logits() -> None:
    trained = train(separable(drawn()), drawn())
    rows, logits = trained.out_of_fold()
    assert sorted(rows) == list(range(60))
    assert trained.result.n == 60
    y = Development.of(drawn(), groups(drawn())).labels[rows]
    p = softmax(logits, fit_temperature(logits, y))
    assert 0.6 < trained.result.scores["auroc"] < 0.999
    assert trained.result.scores == {
        "accuracy": pytest.approx(accuracy_score(y, p.argmax(axis=1))),
        "auroc": pytest.approx(roc_auc_score(y, p[:, 1])),
        "balanced_accuracy": pytest.approx(balanced_accuracy_score(y, p.argmax(axis=1))),
        "log_loss": pytest.approx(log_loss(y, p)),
    }


def test_the_weight_decay_with_the_least_held_out_loss_is_chosen() -> None:
    found = train(separable(drawn()), drawn(), config=candidate(head="logistic")).result
    losses = [point.held_out_loss for point in found.curve]
    assert [point.x for point in found.curve] == list(WEIGHT_DECAYS)
    assert found.curve_axis == "weight decay"
    assert found.chosen["logistic_decay"] == WEIGHT_DECAYS[int(np.argmin(losses))]
    assert 0 < int(np.argmin(losses)) < len(losses) or losses[0] < losses[-1]
    assert all(0.5 < (point.held_out_auroc or 0) <= 1 for point in found.curve)
    fitted = [point.loss for point in found.curve]
    assert fitted[0] < fitted[-1]


def test_a_weight_decay_that_is_given_is_kept() -> None:
    found = train(separable(drawn()), drawn(), config=candidate(head="ridge", weight_decay=0.02)).result
    assert [point.x for point in found.curve] == [0.02]
    assert found.chosen["ridge_decay"] == 0.02


def test_the_same_again_gives_the_same_numbers() -> None:
    one, other = (train(separable(drawn()), drawn()) for _ in range(2))
    ignored = {"seconds": 0.0}
    assert one.result.model_copy(update=ignored) == other.result.model_copy(update=ignored)
    assert all(np.array_equal(a, b) for a, b in zip(one.out_of_fold(), other.out_of_fold(), strict=True))
    assert TrainedCandidate(one.root).result == one.result


# Comparison on the validation split


@pytest.mark.parametrize("head", ["logistic", "mlp"])
def test_the_validation_split_is_predicted_by_a_fit_of_the_training_split(head: str) -> None:
    features = separable(drawn())
    config = candidate(head=head, weight_decay=1e-2, epochs=5)
    trained = train(features, drawn(), {"method": "validation"}, config)
    development = Development.of(drawn(), groups(drawn()))
    rows, logits = trained.out_of_fold()
    assert rows.tolist() == np.flatnonzero(development.validation).tolist()
    assert trained.result.plain_scores is None
    elsewhere = features.copy()
    elsewhere[development.validation] *= -7
    changed = train(elsewhere, drawn(), {"method": "validation"}, config)
    if head == "logistic":
        held = ~development.validation
        stored = features.astype(np.float32)
        (fitted,) = fit_logistic(stored[held], development.labels[held], 2, [1e-2], config)
        np.testing.assert_allclose(logits, fitted.logits(stored[rows]), atol=1e-4)
    else:  # only the training split says when to stop
        assert changed.result.curve == trained.result.curve
    assert changed.result.n == 15


def test_images_that_say_when_to_stop_are_not_fitted_and_bring_their_twins_along() -> None:
    dataset = drawn(per_group=3)
    development = Development.of(dataset, groups(dataset))
    rows = np.arange(5, 55)
    fitted, stopping = development.with_stopping_share(rows, 3)
    assert sorted([*fitted, *stopping]) == rows.tolist()
    assert 4 <= len(stopping) <= 12
    assert set(development.groups[fitted]).isdisjoint(development.groups[stopping])
    assert set(development.labels[stopping]) == set(development.labels[fitted]) == {0, 1}


# The final fit


def final(config: CandidateConfig, features: np.ndarray, chosen: dict[str, float]) -> Any:
    known, stored = imagined(features, drawn())

    class Networkless(Backbone):
        def network(self) -> Any:
            return "the network"

    network, head = refit(config, Networkless(known.root), drawn(), stored, groups(drawn()), chosen, 3)
    assert network == "the network"
    return head


def test_the_winner_is_fitted_on_train_and_validation() -> None:
    features = separable(drawn()).astype(np.float32)
    y = Development.of(drawn(), groups(drawn())).labels
    config = candidate(head="blend")
    chosen = {"logistic_decay": 1e-3, "logistic_temperature": 0.8, "ridge_decay": 1e-2, "ridge_temperature": 2.0}
    (logistic,) = fit_logistic(features, y, 2, [1e-3], config)
    (ridge,) = fit_ridge(features, y, 2, [1e-2], config)
    expected = (logistic.logits(features) + ridge.logits(features) * 0.8 / 2.0) / 2
    np.testing.assert_allclose(final(config, features, chosen).logits(features), expected, atol=1e-4)


def test_the_final_fit_is_the_compared_one_on_more_images() -> None:
    """Its logits on new images are of the same size as those that the temperature was fitted on."""
    features = separable(drawn())
    trained = train(features, drawn())
    _, logits = trained.out_of_fold()
    head = final(candidate(), features, trained.result.chosen)
    new = separable(drawn(), seed=1)
    assert head.logits(new).std() == pytest.approx(logits.std(), rel=0.4)


def test_a_final_mlp_trains_for_as_long_as_the_best_epoch_took() -> None:
    features = separable(drawn(), distance=2)
    config = candidate(head="mlp", hidden_units=8, epochs=12, early_stopping=3, learning_rate=0.02, batch_size=8)
    trained = train(features, drawn(), {"folds": 2}, config)
    found = trained.result
    assert found.curve_axis == "epoch"
    assert found.scores["auroc"] > 0.8
    assert 1 <= found.chosen["epochs"] <= 12
    assert found.chosen["epochs"] == int(found.chosen["epochs"])
    y = Development.of(drawn(), groups(drawn())).labels
    assert roc_auc_score(y, final(config, features, found.chosen).logits(features)[:, 1]) > 0.8


def test_a_class_of_two_patients_is_enough_for_gradient_descent() -> None:
    dataset, features = drawn(), separable(drawn(), distance=2)
    development = Development.of(dataset, groups(dataset))
    rare = [name for name, y in zip(development.sample_ids, development.labels, strict=True) if y]
    own = groups(dataset) | dict.fromkeys(rare, "first patient") | {rare[0]: "second patient"}
    config = candidate(head="mlp", hidden_units=8, epochs=5)
    trained = train(features, dataset, {"folds": 5}, config, own)
    rows, logits = trained.out_of_fold()
    assert sorted(rows) == list(range(60))
    assert np.isfinite(logits).all()


def test_a_class_that_cannot_be_split_is_named() -> None:
    own = groups(drawn())
    development = Development.of(drawn(), own)
    own |= {name: "one patient" for name, y in zip(development.sample_ids, development.labels, strict=True) if y}
    with pytest.raises(InputError, match=f"class '{CLASSES[1]}' cannot be split"):
        train(separable(drawn()), drawn(), own=own)


def test_without_early_stopping_the_final_fit_is_as_long_as_the_compared_ones() -> None:
    noise = np.random.default_rng(0).normal(size=(60, D))
    config = candidate(head="mlp", hidden_units=8, epochs=9, early_stopping=0, learning_rate=0.05)
    found = train(noise, drawn(), {"method": "validation"}, config).result
    assert len(found.curve) == 9
    assert found.chosen == {"epochs": 9}


# Networks that are trained on images


@pytest.mark.parametrize(
    "config",
    [
        compact(image_sizes=[64], epochs=6, batch_size=8, learning_rate=3e-3, early_stopping=0),
        candidate(fine_tune_layers=5, epochs=2, batch_size=8, learning_rate=1e-3),
    ],
    ids=["from scratch", "fine-tuned"],
)
def test_a_network_is_trained_compared_and_trained_again(config: CandidateConfig, tmp_path: Path) -> None:
    index = striped().index()
    rows = [
        row(name, label, split, b"poison" if split == "test" else striped().read([name])[name], group)
        for name, label, split, group in index[["sample_id", "label", "split", "group"]].itertuples(index=False)
    ]
    dataset = write_dataset(tmp_path, rows)
    selection = SelectionConfig(method="validation")
    trained = train_candidate(config, backbone(PLAIN), dataset, None, groups(dataset), selection, 3, scratch())
    assert trained.result.n == 10
    assert trained.result.plain_scores is None
    assert trained.result.scores["auroc"] > 0.8
    assert trained.result.milliseconds == backbone(PLAIN).info.milliseconds
    chosen = {"epochs": trained.result.chosen["epochs"]}
    network, head = refit(config, backbone(PLAIN), dataset, None, groups(dataset), chosen, 3)
    pixels = np.stack([stripes(i % 2, 500 + i, 64, 64)[..., None].repeat(3, axis=2) for i in range(20)])
    features = network(pixels, training=False)[0].numpy()
    untouched = backbone(PLAIN).network()(pixels, training=False)[0].numpy()
    assert not np.allclose(features, untouched, atol=1e-3)
    assert roc_auc_score(np.arange(20) % 2, head.logits(features)[:, 1]) > 0.9


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (candidate(), "64 px; last; avg pooling; logistic and ridge head"),
        (candidate(head="ridge"), "64 px; last; avg pooling; ridge head"),
        (candidate(head="mlp", hidden_units=9), "64 px; last; avg pooling; mlp of 9 units"),
        (candidate(fine_tune_layers=3, head="logistic"), "logistic head, top 3 layers fine-tuned"),
        (compact(), "trained from scratch"),
    ],
)
def test_a_candidate_is_described_in_words(config: CandidateConfig, words: str) -> None:
    assert words in describe(config, backbone(PLAIN))


def test_features_of_other_images_are_not_taken() -> None:
    known, stored = imagined(separable(drawn()), drawn())
    shuffled = Features(stored.root)
    shuffled.samples = {**stored.samples, "sample_id": stored.sample_ids[::-1]}
    with pytest.raises(AssertionError):
        train_candidate(candidate(), known, drawn(), shuffled, groups(drawn()), SelectionConfig(), 3, scratch())
