"""Which rows a fit uses and how much they count, and that every way of fitting goes by it."""

from pathlib import Path

import numpy as np
import pytest
from tiny import CLASSES, PLAIN, backbone, candidate, compact, groups, imagined, png, row, stripes, write_dataset

from diascope.candidates import train_candidate
from diascope.config import CandidateConfig, SelectionConfig
from diascope.dataset import Dataset
from diascope.development import Development
from diascope.rows import weighed_rows
from diascope.weighting import LEAST_WEIGHT, resampled, weigh

LABELS = np.array([0] * 12 + [1] * 3 + [2] * 5)
ROWS = np.arange(20)[1:]  # image 0 is held out


def development(agreement: np.ndarray | None = None) -> Development:
    n = len(LABELS)
    known = {} if agreement is None else {"agreement": agreement}
    names = list(map(str, range(n)))
    return Development(names, LABELS, np.array(names), np.zeros(n, bool), ["a", "b", "c"], **known)


def test_by_default_every_row_counts_once() -> None:
    weighting = weigh(ROWS, development(np.full(20, 0.5)), candidate(), seed=1)
    assert weighting.rows.tolist() == ROWS.tolist()
    assert (weighting.weights[ROWS] == 1).all()


@pytest.mark.parametrize(("method", "n"), [("undersample", 3), ("oversample", 11)])
def test_resampling_gives_every_class_as_many(method: str, n: int) -> None:
    rows = resampled(ROWS, LABELS, method, seed=1)
    assert np.bincount(LABELS[rows]).tolist() == [n] * 3
    assert set(rows) <= set(ROWS)
    assert (np.diff(rows) >= 0).all()
    assert rows.tolist() == resampled(ROWS, LABELS, method, seed=1).tolist()
    assert rows.tolist() != resampled(ROWS, LABELS, method, seed=2).tolist()


def test_undersampling_draws_no_image_twice_and_oversampling_uses_each_as_often_as_it_can() -> None:
    _, times = np.unique(resampled(ROWS, LABELS, "undersample", seed=1), return_counts=True)
    assert set(times) == {1}
    rows, times = np.unique(resampled(ROWS, LABELS, "oversample", seed=1), return_counts=True)
    assert rows.tolist() == ROWS.tolist()
    assert set(times[LABELS[rows] == 0]) == {1}
    assert sorted(times[LABELS[rows] == 1]) == [3, 4, 4]
    assert sorted(times[LABELS[rows] == 2]) == [2, 2, 2, 2, 3]


def test_agreement_weighs_images_and_balance_gives_classes_the_same_total_of_it() -> None:
    agreement = np.linspace(0, 1, 20)
    plain = weigh(ROWS, development(agreement), candidate(sample_weights="agreement"), seed=1).weights
    assert plain[ROWS].mean() == pytest.approx(1)
    np.testing.assert_allclose(plain[5] / plain[19], agreement[5])
    assert plain[0] / plain[19] == pytest.approx(LEAST_WEIGHT)
    both = candidate(sample_weights="agreement", class_weights="balanced")
    balanced = weigh(ROWS, development(agreement), both, seed=1).weights
    np.testing.assert_allclose(np.bincount(LABELS[ROWS], balanced[ROWS]), 19 / 3)
    np.testing.assert_allclose(balanced[15] / balanced[18], agreement[15] / agreement[18])


def test_a_row_that_is_drawn_again_may_count_more_instead() -> None:
    weighting = weigh(ROWS, development(), candidate(resampling="oversample"), seed=1)
    rows, weights = weighting.once()
    assert rows.tolist() == ROWS.tolist()
    assert weights.sum() == pytest.approx(len(weighting.rows))
    np.testing.assert_allclose(np.bincount(LABELS[rows], weights), 11)


def test_descent_fits_what_was_drawn_and_weighs_what_says_when_to_stop() -> None:
    known, stopping = development(np.linspace(0.1, 1, 20)), np.array([2, 13, 18])
    config = candidate(resampling="oversample", sample_weights="agreement")
    rows = weighed_rows(ROWS[3:], stopping, known, config, 1)
    drawn = weigh(ROWS[3:], known, config, 1)
    assert rows.fitted.tolist() == drawn.rows.tolist()
    assert rows.weights is not None
    np.testing.assert_allclose(rows.weights, drawn.weights[drawn.rows])
    assert rows.stopping is not None
    assert rows.stopping.tolist() == stopping.tolist()
    np.testing.assert_allclose(rows.stopping_weights, known.agreement[stopping] / known.agreement[stopping].mean())


# Every way of fitting


def doubtful(root: Path) -> Dataset:
    """Three in five of the training images have the wrong label, and nobody agrees with it."""
    rows = []
    for split, n in {"train": 40, "validation": 12, "test": 4}.items():
        for i in range(n):
            truth, wrong = i % 2, split == "train" and i % 5 < 3
            data = png(stripes(truth, seed=len(rows)))
            made = row(f"{split}/{i:02}.png", CLASSES[truth ^ wrong], split, data)
            rows.append(made | {"agreement": 0.0 if wrong else 1.0})
    return write_dataset(root, rows)


def held_out_accuracy(config: CandidateConfig, dataset: Dataset, root: Path) -> float:
    root.mkdir()
    selection = SelectionConfig(method="validation")
    if config.trains_network:
        network, features = backbone(PLAIN), None
    else:
        index = dataset.index()
        index = index[index["split"] != "test"]
        truth = np.array([int(name[-6:-4]) % 2 for name in index["sample_id"]])
        seen = np.random.default_rng(1).normal(size=(len(truth), 6)) + 1.5 * truth[:, None]
        network, features = imagined(seen, dataset)
    trained = train_candidate(config, network, dataset, features, groups(dataset), selection, 3, root)
    rows, logits = trained.out_of_fold()
    labels = Development.of(dataset, groups(dataset)).labels[rows]
    return float((logits.argmax(axis=1) == labels).mean())


@pytest.mark.parametrize("head", ["logistic", "ridge", "blend", "mlp", "network"])
def test_what_nobody_agrees_on_is_hardly_learnt_from(head: str, tmp_path: Path) -> None:
    dataset = doubtful(tmp_path)
    options = {"weight_decay": 1e-6, "sample_weights": "agreement"}
    if head == "network":
        config = compact(image_sizes=[64], epochs=6, batch_size=8, learning_rate=5e-3, early_stopping=0, **options)
    else:
        config = candidate(head=head, epochs=20, learning_rate=1e-2, early_stopping=0, **options)
    assert held_out_accuracy(config, dataset, tmp_path / "weighed") >= 0.9


@pytest.mark.parametrize("head", ["logistic", "ridge"])
@pytest.mark.parametrize("method", ["undersample", "oversample"])
def test_resampling_moves_the_border_between_classes(head: str, method: str, tmp_path: Path) -> None:
    """Where classes overlap, the common one takes everything unless both are equally common."""
    rows = []
    for split, counts in {"train": (40, 8), "validation": (20, 20), "test": (1, 1)}.items():
        for label, n in enumerate(counts):
            rows += [row(f"{split}/{label}{i:02}.png", CLASSES[label], split, png(stripes(label, i))) for i in range(n)]
    dataset = write_dataset(tmp_path, rows)
    labels = Development.of(dataset, groups(dataset)).labels
    seen = np.random.default_rng(2).normal(size=(len(labels), 1)) + 0.8 * labels[:, None]

    def share_of_rare(resampling: str) -> float:
        root = tmp_path / resampling
        root.mkdir()
        config = candidate(head=head, resampling=resampling, weight_decay=1e-6)
        network, features = imagined(seen, dataset)
        selection = SelectionConfig(method="validation")
        trained = train_candidate(config, network, dataset, features, groups(dataset), selection, 3, root)
        return float(trained.out_of_fold()[1].argmax(axis=1).mean())

    assert share_of_rare(method) > share_of_rare("none") + 0.15
