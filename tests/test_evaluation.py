"""How good is the winner, on what it never saw?"""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny import (
    CLASSES,
    PLAIN,
    backbone,
    candidate_result,
    classifier,
    classifier_info,
    groups,
    png,
    random_head,
    row,
    scratch,
    striped,
    stripes,
    trained,
    write_dataset,
)

from diascope.answers import Abstention
from diascope.calibration import fit_temperature, softmax
from diascope.classifier import Classifier
from diascope.config import EvaluationConfig
from diascope.development import Development
from diascope.errors import InputError
from diascope.evaluation import (
    EvaluationRecord,
    calibrate,
    decide_test,
    in_order,
    interval_unit,
    measure_out_of_fold,
    measure_test,
    mistakes,
    out_of_fold_table,
    positive_class,
    predict_test,
    probability_columns,
    store_evaluation,
)
from diascope.familiarity import familiarise
from diascope.images import decode
from diascope.metrics import Metrics, OperatingPoint, measure
from diascope.results import CandidateResult, Evaluation

CONFIG = EvaluationConfig(resamples=100)


def development(n: int = 400, names: list[str] | None = None, seed: int = 0) -> tuple[Development, np.ndarray]:
    """Images with labels that are drawn from the softmax of logits (n, k)."""
    names = names or CLASSES
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, len(names))) * 2
    labels = np.array([rng.choice(len(names), p=p) for p in softmax(logits)])
    ids = [f"{i:03}" for i in range(n)]
    known = Development(ids, labels, np.array([f"g{i // 4}" for i in range(n)]), np.zeros(n, bool), names)
    return known, logits


# Calibration and the operating point


def test_the_temperature_makes_up_for_logits_that_are_too_sure() -> None:
    known, logits = development(4000)
    order = np.random.default_rng(1).permutation(4000)[:3500]
    temperature, _, rows, probabilities = calibrate(trained(order, 3 * logits[order]), known, CONFIG)
    assert temperature == pytest.approx(3, rel=0.1)
    assert temperature == fit_temperature(3 * logits[order], known.labels[order])
    assert np.array_equal(rows, order)
    np.testing.assert_allclose(probabilities, softmax(3 * logits[order] / temperature))


@pytest.mark.parametrize(("positive", "target"), [("along", 0.9), ("across", 0.7), (None, 0.8)])
def test_the_operating_point_reaches_its_sensitivity_on_images_that_were_held_out(
    positive: str | None, target: float
) -> None:
    known, logits = development()
    config = EvaluationConfig(positive_class=positive, target_sensitivity=target)
    _, point, rows, probabilities = calibrate(trained(np.arange(400), logits), known, config)
    assert point is not None
    assert point.positive_class == (positive or "along")
    column = CLASSES.index(point.positive_class)
    scores = probabilities[known.labels[rows] == column, column]
    assert (scores >= point.threshold).mean() >= target
    assert (scores > point.threshold).mean() < target


def test_more_than_two_classes_have_no_operating_point() -> None:
    known, logits = development(names=["a", "b", "c"])
    assert calibrate(trained(np.arange(400), logits), known, CONFIG)[1] is None


@pytest.mark.parametrize("names", [CLASSES, ["a", "b", "c"]])
def test_a_positive_class_that_does_not_exist_is_named(names: list[str]) -> None:
    known, logits = development(names=names)
    with pytest.raises(InputError, match=r"positive_class.*'alogn'"):
        calibrate(trained(np.arange(400), logits), known, EvaluationConfig(positive_class="alogn"))


@pytest.mark.parametrize(
    ("names", "positive"),
    [
        (["disease", "normal"], "disease"),
        (["NORMAL", "PNEUMONIA"], "PNEUMONIA"),
        (["Tumour", "No"], "Tumour"),
        (["no", "yes"], "yes"),
        (["benign", "malignant"], "malignant"),
        (["left", "right"], "right"),
        (["benign", "normal"], "normal"),
    ],
)
def test_the_disease_is_looked_for_and_not_its_absence(names: list[str], positive: str) -> None:
    assert positive_class(names) == positive


# Metrics


def test_out_of_fold_metrics_know_the_calibration_before_and_after() -> None:
    known, logits = development()
    winner = trained(np.arange(400), 4 * logits)
    temperature, point, rows, probabilities = calibrate(winner, known, CONFIG)
    found = measure_out_of_fold(known, rows, probabilities, temperature, point, "patient", CONFIG, seed=5)
    before = measure(known.labels, softmax(4 * logits), CLASSES, groups=known.groups, resamples=100, seed=5)
    assert found.ece_uncalibrated.value == pytest.approx(before.ece.value, abs=1e-9)
    assert found.ece.value < 0.5 * before.ece.value
    assert (found.n, found.n_groups, found.interval_unit, found.resamples) == (400, 100, "patient", 100)
    assert found.operating_point is not None
    assert found.operating_point.sensitivity is not None
    assert (found.operating_point.sensitivity.value or 0) >= 0.9


@pytest.mark.parametrize(("grouping", "unit"), [("patient", "patient"), ("similarity", "inferred group")])
def test_intervals_name_what_they_are_over(grouping: str, unit: str) -> None:
    assert interval_unit(grouping) == unit


@pytest.fixture(scope="module")
def predictions() -> pd.DataFrame:
    return predict_test(classifier(2.5), striped())


def test_the_test_split_is_predicted_by_the_stored_classifier(predictions: pd.DataFrame) -> None:
    index = striped().index()
    index = index[index["split"] == "test"]
    assert list(predictions.columns) == ["sample_id", "sha256", "group", "split", "label", "p0", "p1", "distance"]
    assert predictions["distance"].isna().all()  # this one stores no reference
    for column in ("sample_id", "sha256", "group"):
        assert predictions[column].tolist() == index[column].tolist()
    assert [CLASSES[label] for label in predictions["label"]] == index["label"].tolist()
    assert set(predictions["split"]) == {"test"}
    images = striped().read(index["sample_id"].tolist())
    expected = classifier(2.5).predict(images.values()).probabilities
    assert np.array_equal(probability_columns(predictions), expected.astype(np.float64))


@pytest.fixture(scope="module")
def wary() -> Classifier:
    """One that stores reference statistics and a band, but not of these images: some are foreign to it."""
    from diascope.assembly import store_classifier

    known = backbone(PLAIN)
    training = [stripes(i // 2 % 2, 300 + i, 64, 64)[..., None].repeat(3, axis=2) for i in range(40)]
    features = np.stack([outputs["features"] for outputs in known.engine().stream(training)])
    reference, familiarity = familiarise(features, np.arange(40) // 2 % 2, np.arange(40), known.info.averages, seed=0)
    band = Abstention(low=0, high=0.6, share=0.1)
    tight = familiarity.model_copy(update={"threshold": float(np.median(reference.distance(features)) * 1.2)})
    info = classifier_info(64).model_copy(update={"familiarity": tight, "abstention": band})
    head = random_head(known.info.dimension, 2)
    return store_classifier(known.network(), head, known.info, info, scratch(), reference)


@pytest.mark.parametrize("grouping", ["patient", "similarity"])
def test_decisions_on_the_test_split_are_the_answers_to_its_images(wary: Classifier, grouping: str) -> None:
    table = predict_test(wary, striped())
    answers = list(wary.answers(striped().read(table["sample_id"].tolist()).values()))
    np.testing.assert_allclose(table["distance"], [answer.distance for answer in answers], rtol=1e-5)
    found = decide_test(table, wary, grouping, CONFIG)
    counts = Counter(answer.decision for answer in answers)
    assert (found.n_ok, found.n_uncertain, found.n_out_of_distribution) == (
        counts["ok"],
        counts["uncertain"],
        counts["out_of_distribution"],
    )
    assert counts["out_of_distribution"] > 0
    assert (found.familiarity, found.abstention) == (wary.info.familiarity, wary.info.abstention)
    right = [a.label == CLASSES[label] for a, label in zip(answers, table["label"], strict=True) if a.decision == "ok"]
    assert found.accuracy.value == (pytest.approx(np.mean(right)) if right else None)


def test_an_image_that_was_ingested_is_not_too_large_to_be_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "__kwdefaults__", {"name": "image", "max_pixels": 100})
    assert len(predict_test(classifier(2.5), striped())) == 12


def test_nothing_but_the_test_split_is_read(tmp_path: Path) -> None:
    rows = [row(f"test/{i}.png", CLASSES[i % 2], "test", png(stripes(i % 2, i))) for i in range(4)]
    poisoned = [row(f"train/{i}.png", CLASSES[i % 2], "train", b"poison") for i in range(4)]
    found = predict_test(classifier(2.5), write_dataset(tmp_path, [*poisoned[:2], *rows, *poisoned[2:]], row_group=3))
    assert found["sample_id"].tolist() == [f"test/{i}.png" for i in range(4)]


@pytest.mark.parametrize(("grouping", "unit"), [("patient", "patient"), ("similarity", "image")])
def test_test_metrics_are_those_of_the_stored_probabilities(
    predictions: pd.DataFrame, grouping: str, unit: str
) -> None:
    found = measure_test(predictions, classifier(2.5), grouping, CONFIG)
    p, temperature = probability_columns(predictions), classifier(2.5).info.temperature
    expected = measure(
        predictions["label"],
        p,
        CLASSES,
        uncalibrated=softmax(np.log(p) * temperature),
        groups=predictions["group"] if unit == "patient" else None,
        interval_unit=unit,
        resamples=100,
        seed=1,
    )
    assert found == expected
    assert found.n_groups == (6 if unit == "patient" else None)


# Mistakes


def with_point(threshold: float) -> Classifier:
    changed = Classifier(classifier(2.5).root)
    point = OperatingPoint(positive_class="along", threshold=threshold, target_sensitivity=0.9)
    changed.info = changed.info.model_copy(update={"operating_point": point})
    return changed


def table(labels: list[int], along: list[float]) -> pd.DataFrame:
    p = np.array(along)
    names = [f"image {i}" for i in range(len(p))]
    return pd.DataFrame({"sample_id": names, "label": labels, "p0": 1 - p, "p1": p})


def test_the_most_confident_mistakes_come_first() -> None:
    found = mistakes(table([0, 0, 1, 1, 0, 1], [0.7, 0.1, 0.05, 0.9, 0.7, 0.4]), classifier(2.5))
    assert [(m.sample_id, m.truth, m.predicted) for m in found] == [
        ("image 2", "along", "across"),
        ("image 0", "across", "along"),
        ("image 4", "across", "along"),
        ("image 5", "along", "across"),
    ]
    assert [m.probability for m in found] == pytest.approx([0.95, 0.7, 0.7, 0.6])


def test_mistakes_go_by_the_operating_point() -> None:
    answers = table([0, 1, 1], [0.3, 0.3, 0.1])
    assert [m.sample_id for m in mistakes(answers, classifier(2.5))] == ["image 2", "image 1"]
    found = mistakes(answers, with_point(0.2))
    assert [(m.sample_id, m.predicted, m.probability) for m in found] == [
        ("image 2", "across", pytest.approx(0.9)),
        ("image 0", "along", pytest.approx(0.3)),
    ]


def test_a_classifier_that_is_right_makes_no_mistakes() -> None:
    assert mistakes(table([0, 1], [0.1, 0.9]), classifier(2.5)) == []


# The record


def test_the_record_comes_back_as_it_was_stored(predictions: pd.DataFrame, tmp_path: Path) -> None:
    dataset = striped()
    known = Development.of(dataset, groups(dataset))
    rows = np.random.default_rng(0).permutation(34)
    held_out = softmax(np.random.default_rng(1).normal(size=(34, 2)))
    results = [CandidateResult.model_validate_json(candidate_result(name=name)) for name in ("small", "other")]
    both = pd.concat([out_of_fold_table(dataset, rows, held_out), predictions])
    evaluation = Evaluation(
        class_names=CLASSES,
        winner=results[0],
        candidates=results,
        selection="small is faster.",
        metric="auroc",
        method="cross_validation",
        groups="similarity",
        temperature=2.5,
        validation=validation(known, rows, held_out),
        test=measure_test(predictions, classifier(2.5), "similarity", CONFIG),
        mistakes=mistakes(predictions, classifier(2.5)),
        dataset_fingerprint=dataset.info.fingerprint,
        seed=1,
    )
    stored = store_evaluation(evaluation, both, dataset, tmp_path)
    again = EvaluationRecord(stored.root)
    assert again.evaluation == evaluation
    pd.testing.assert_frame_equal(again.predictions(), both.reset_index(drop=True))
    page = (tmp_path / "evaluation.html").read_text(encoding="utf-8")
    assert "small is faster." in page
    assert page.count("data:image/") >= len(evaluation.mistakes) > 0


def validation(known: Development, rows: np.ndarray, probabilities: np.ndarray) -> Metrics:
    return measure_out_of_fold(known, rows, probabilities, 2.5, None, "inferred group", CONFIG, seed=1)


def test_out_of_fold_predictions_stand_beside_their_own_images() -> None:
    index = striped().index()
    index = index[index["split"] != "test"].reset_index(drop=True)
    rows = np.array([33, 0, 7])
    found = out_of_fold_table(striped(), rows, np.array([[0.1, 0.9], [0.6, 0.4], [0.5, 0.5]]))
    assert found["sample_id"].tolist() == index["sample_id"][rows].tolist()
    assert [CLASSES[label] for label in found["label"]] == index["label"][rows].tolist()
    assert found["p1"].tolist() == [0.9, 0.4, 0.5]
    assert set(found["split"]) == {"validation"}


def test_probabilities_of_many_classes_keep_their_order() -> None:
    values = np.random.default_rng(0).uniform(size=(2, 12))
    columns = {f"p{i}": values[:, i] for i in range(12)}
    frame = pd.DataFrame({"sample_id": ["a", "b"], "patient": [1, 2], **columns})
    assert np.array_equal(probability_columns(frame), values)


def test_results_keep_the_order_of_the_configuration() -> None:
    candidates = [trained(np.arange(2), np.zeros((2, 2)), name=name) for name in ("b", "a")]
    assert [result.name for result in in_order(candidates)] == ["b", "a"]
