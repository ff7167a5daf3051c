"""What does the classifier say of one image, and when does it rather not?"""

import numpy as np
import pytest
from tiny import CLASSES, classifier, scratch, stripes

from diascope.answers import Abstention, Answer, Familiarity
from diascope.classifier import Classifier
from diascope.metrics import OperatingPoint

KNOWN = Familiarity(method="a distance", threshold=6.0, percentile=99, n=1577)
POINT = OperatingPoint(positive_class="along", threshold=0.3, target_sensitivity=0.9)
AROUND = Abstention(low=0.2, high=0.45, share=0.1)
BELOW = Abstention(low=0, high=0.7, share=0.1)


def told(along: float, distance: float | None = None, **info: object) -> Answer:
    """The answer of a classifier that knows this, to these outputs."""
    asked = Classifier(classifier(1.0).root)
    asked.info = asked.info.model_copy(update=info)
    outputs = {"probabilities": np.array([1 - along, along], np.float32)}
    return asked.answer(outputs if distance is None else outputs | {"distance": np.float32(distance)})


def test_an_older_classifier_knows_neither_distance_nor_doubt() -> None:
    answer = told(0.51)
    assert (answer.decision, answer.distance, answer.threshold) == ("ok", None, None)
    assert answer.label == "along"
    assert answer.reason == "The most probable class, “along”, has a probability of 0.51."
    assert told(0.51, 7.0).distance is None


@pytest.mark.parametrize(
    ("along", "label", "decision"),
    [
        (0.1, "across", "ok"),
        (0.19, "across", "ok"),
        (0.25, "across", "uncertain"),
        (0.31, "along", "uncertain"),
        (0.44, "along", "uncertain"),
        (0.46, "along", "ok"),
        (0.99, "along", "ok"),
    ],
)
def test_two_classes_are_undecided_around_the_operating_threshold(along: float, label: str, decision: str) -> None:
    answer = told(along, operating_point=POINT, abstention=AROUND)
    assert (answer.label, answer.decision) == (label, decision)
    assert answer.probability == pytest.approx(along if label == "along" else 1 - along)
    assert answer.probabilities == pytest.approx({"across": 1 - along, "along": along})
    assert answer.threshold == 0.3


@pytest.mark.parametrize(("along", "decision"), [(0.31, "uncertain"), (0.69, "uncertain"), (0.71, "ok"), (0.2, "ok")])
def test_without_a_threshold_the_largest_probability_decides(along: float, decision: str) -> None:
    assert told(along, abstention=BELOW).decision == decision


@pytest.mark.parametrize(
    ("distance", "decision"), [(0.2, "uncertain"), (1.0, "uncertain"), (1.01, "out_of_distribution")]
)
def test_a_foreign_image_is_foreign_before_it_is_uncertain(distance: float, decision: str) -> None:
    answer = told(0.5, distance, abstention=BELOW, familiarity=KNOWN)
    assert answer.decision == decision
    assert answer.distance == pytest.approx(distance)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (
            told(0.93, operating_point=POINT, abstention=AROUND),
            "The probability of “along” is 0.93, at or above the operating threshold of 0.30.",
        ),
        (
            told(0.1, operating_point=POINT, abstention=AROUND),
            "The probability of “along” is 0.10, below the operating threshold of 0.30.",
        ),
        (
            told(0.4, operating_point=POINT, abstention=AROUND),
            "The probability of “along” is 0.40, near the operating threshold of 0.30: from 0.20 to 0.45 the model "
            "leaves the decision to a person.",
        ),
        (
            told(0.4, abstention=BELOW),
            "The most probable class, “across”, has a probability of 0.60, and below 0.70 the model leaves the "
            "decision to a person.",
        ),
        (told(0.9996), "The most probable class, “along”, has a probability of 0.9996."),
        (told(1 - 1e-9), "The most probable class, “along”, has a probability of above 0.999999."),
        (told(1.0), "The most probable class, “along”, has a probability of above 0.999999."),
        (
            told(0.9, 2.342, familiarity=KNOWN),
            "The image is unlike those the model was trained on: its distance to them is 2.34 times the limit, "
            "which is the 99th percentile of 1,577 held-out training images.",
        ),
    ],
)
def test_the_reason_is_one_sentence_with_its_figures(answer: Answer, sentence: str) -> None:
    assert answer.reason == sentence


@pytest.mark.parametrize("distance", [1.0001, 1.004, 12.3, 4e9, np.inf])
def test_what_is_beyond_the_limit_never_reads_as_within(distance: float) -> None:
    answer = told(0.9, distance, familiarity=KNOWN)
    times = answer.reason.split(" times the limit")[0].split()[-1]
    assert float(times.replace(",", "")) > 1
    assert "inf" not in answer.reason


def test_answers_come_in_order_and_agree_with_predictions() -> None:
    asked = classifier(1.0)
    pictures = [stripes(i % 2, i) for i in range(9)]
    answers = list(asked.answers(pictures))
    predicted = asked.predict(pictures)
    assert [answer.label for answer in answers] == predicted.labels
    np.testing.assert_allclose([list(a.probabilities.values()) for a in answers], predicted.probabilities)
    assert [list(answer.probabilities) for answer in answers] == [CLASSES] * 9


def test_metadata_with_both_come_back_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    root, stored = scratch(), classifier(1.0)
    for path in stored.root.iterdir():
        (root / path.name).write_bytes(path.read_bytes())
    info = stored.info.model_copy(update={"familiarity": KNOWN, "abstention": AROUND})
    (root / "metadata.json").write_text(info.model_dump_json())
    assert Classifier.load(root).info == info
