"""How are candidates fitted, compared on training data alone, and the winner refitted?"""

import functools
import json
import shutil
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
    trained,
    write_dataset,
)

from diascope.calibration import fit_temperature, softmax
from diascope.candidates import compare, frozen_fit, refit, train_candidate
from diascope.config import CandidateConfig, SelectionConfig
from diascope.dataset import Dataset
from diascope.development import Development
from diascope.errors import InputError
from diascope.features import Backbone, Features
from diascope.heads import WEIGHT_DECAYS, fit_logistic, fit_ridge
from diascope.trained_candidate import TrainedCandidate, describe, store_candidate

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

    winner = trained(np.arange(60), np.zeros((60, 2)), chosen=chosen, candidate=config.model_dump(mode="json"))
    network, head = refit(winner, Networkless(known.root), drawn(), stored, groups(drawn()), 3)
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


# A candidate that brings its own network or features, as a search or a sweep makes it


def changed(one: TrainedCandidate, folder: str, source: Path) -> TrainedCandidate:
    """The same candidate with a folder of its own."""
    shutil.copytree(source, one.root / folder)
    return TrainedCandidate(one.root)


def test_what_was_trained_is_what_is_fitted_again() -> None:
    one = train(separable(drawn()), drawn(), config=candidate(head="ridge"))
    assert one.candidate == candidate(head="ridge")
    assert one.base == "small"
    known, stored = imagined(separable(drawn()), drawn())
    assert one.backbone(known) is known
    np.testing.assert_array_equal(one.inputs(stored), stored.array())
    assert one.inputs(None) is None


def test_columns_of_the_stored_features_are_what_the_head_sees() -> None:
    known, stored = imagined(separable(drawn()), drawn(), [30, 10])
    small, _ = imagined(separable(drawn())[:, :7], drawn())
    columns = np.array([0, 1, 2, 3, 4, 38, 39])
    one = train(separable(drawn())[:, columns], drawn(), config=candidate(head="ridge", weight_decay=0.01))
    np.save(one.root / "columns.npy", columns)
    one = changed(one, "backbone", small.root)
    assert one.backbone(known).info.dimension == 7
    np.testing.assert_array_equal(one.inputs(stored), stored.array()[:, columns])
    head = final_of(one, known, stored)
    y = Development.of(drawn(), groups(drawn())).labels
    (expected,) = fit_ridge(stored.array()[:, columns], y, 2, [0.01], one.candidate)
    np.testing.assert_allclose(head.layers[0][0], expected.layers[0][0], atol=1e-5)


def test_features_of_its_own_take_the_place_of_the_pipelines() -> None:
    known, stored = imagined(separable(drawn()), drawn())
    _, own = imagined(separable(drawn(), seed=1), drawn())
    one = changed(train(separable(drawn(), seed=1), drawn()), "features", own.root)
    np.testing.assert_array_equal(one.inputs(stored), own.array())
    np.testing.assert_array_equal(one.inputs(None), own.array())
    head = final_of(one, known, stored)
    assert head.scaling.mean == pytest.approx(own.array().mean(axis=0), abs=1e-5)
    (one.root / "features" / "samples.json").write_text(json.dumps({"sample_id": own.sample_ids[::-1]}))
    with pytest.raises(AssertionError):
        final_of(TrainedCandidate(one.root), known, stored)


def final_of(winner: TrainedCandidate, known: Backbone, stored: Features) -> Any:
    """The head of the final fit; the network is left out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Backbone, "network", lambda self: "the network")
        return refit(winner, known, drawn(), stored, groups(drawn()), 3)[1]


def test_a_candidate_made_from_another_says_so() -> None:
    known, _ = imagined(separable(drawn()), drawn())
    development = Development.of(drawn(), groups(drawn()))
    fit = frozen_fit(candidate(name="tuned"), known, separable(drawn()), development, 3)
    comparison, plain = compare(fit, SelectionConfig(folds=3))
    made = store_candidate(candidate(name="tuned"), known, comparison, plain, development, 1.5, scratch(), "small")
    assert (made.result.name, made.base, made.result.seconds) == ("tuned", "small", 1.5)
    assert made.result.scores["auroc"] == pytest.approx(comparison.scores(development.labels)["auroc"])
    assert made.result.plain_scores


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


def test_a_network_is_trained_compared_and_trained_again(tmp_path: Path) -> None:
    config = compact(image_sizes=[64], epochs=6, batch_size=8, learning_rate=3e-3, early_stopping=0)
    index = striped().index()
    rows = [
        row(name, label, split, b"poison" if split == "test" else striped().read([name])[name], group)
        for name, label, split, group in index[["sample_id", "label", "split", "group"]].itertuples(index=False)
    ]
    dataset = write_dataset(tmp_path, rows)
    selection = SelectionConfig(method="validation")
    winner = train_candidate(config, backbone(PLAIN), dataset, None, groups(dataset), selection, 3, scratch())
    assert winner.result.n == 10
    assert winner.result.plain_scores is None
    assert winner.result.scores["auroc"] > 0.8
    assert winner.result.milliseconds == backbone(PLAIN).info.milliseconds
    network, head = refit(winner, backbone(PLAIN), dataset, None, groups(dataset), 3)
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
