from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tiny

from diascope.answers import Abstention, Familiarity
from diascope.classifier import Classifier
from diascope.metrics import OperatingPoint
from diascope.parity import Answered, Measured, NotTheSame, compare, measured

BEFORE = [
    Measured("scans/a.png", "cat", {"cat": 0.7, "dog": 0.3}),
    Measured("scans/b.png", "dog", {"cat": 0.4, "dog": 0.6}),
]


def answered(*shifts: float) -> list[Answered]:
    return [
        Answered(each.label, {"cat": each.probabilities["cat"] + shift, "dog": each.probabilities["dog"] - shift})
        for each, shift in zip(BEFORE, shifts, strict=True)
    ]


KNOWN = Familiarity(method="a distance", threshold=6.0, percentile=99, n=500)
BAND = Abstention(low=0, high=0.7, share=0.1)
POINT = OperatingPoint(positive_class="along", threshold=0.3, target_sensitivity=0.9)


class Record:
    """Stands for a stored evaluation."""

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table
        self.evaluation = SimpleNamespace(
            class_names=tiny.CLASSES,
            test=SimpleNamespace(operating_point=None),
            decisions=SimpleNamespace(abstention=None, familiarity=None),
        )

    def predictions(self) -> pd.DataFrame:
        return self.table


def record(seed: int = 0) -> Record:
    rng = np.random.default_rng(1)
    n = 60
    p0 = rng.random(n)
    table = pd.DataFrame(
        {
            "sample_id": [f"{i}.png" for i in range(n)],
            "sha256": [f"{x:064x}" for x in rng.permutation(n)],
            "split": ["test"] * 50 + ["validation"] * 10,
            "label": [0] * 45 + [1] * 15,
            "p0": p0,
            "p1": 1 - p0,
        }
    )
    return Record(table.sample(frac=1, random_state=seed))


def test_the_largest_difference_is_told():
    parity = compare(BEFORE, answered(0.004, -0.009))
    assert (parity.n, parity.same_labels) == (2, True)
    assert parity.largest_difference == pytest.approx(0.009)


def test_a_probability_that_differs_names_image_and_difference():
    with pytest.raises(NotTheSame, match=r"scans/b\.png.*'(cat|dog)' is 0\.\d+.*difference 0\.0110"):
        compare(BEFORE, answered(0, 0.011))


def test_another_label_fails_even_where_the_probabilities_are_near():
    other = replace(answered(0, 0)[0], label="dog")
    with pytest.raises(NotTheSame, match=r"scans/a\.png: answered is 'dog', measured was 'cat'"):
        compare(BEFORE[:1], [other])


def test_what_is_no_number_is_not_the_same():
    with pytest.raises(NotTheSame, match="nan"):
        compare(BEFORE[:1], [Answered("cat", {"cat": 0.7, "dog": float("nan")})])


def test_other_classes_fail():
    with pytest.raises(NotTheSame, match="the classes are cat, measured were cat, dog"):
        compare(BEFORE[:1], [Answered("cat", {"cat": 0.7})])


def test_a_missing_answer_fails():
    with pytest.raises(ValueError, match="shorter"):
        compare(BEFORE, answered(0, 0)[:1])


def test_the_sample_is_the_same_whatever_order_the_table_is_in():
    classifier = tiny.classifier(1.0)
    first, second = (measured(record(seed), classifier, 20) for seed in (1, 2))  # type: ignore[arg-type]
    assert first == second


def test_the_sample_is_of_test_images_of_every_class():
    sample = measured(record(), tiny.classifier(1.0), 8)  # type: ignore[arg-type]
    numbers = [int(each.sample_id.partition(".")[0]) for each in sample]
    assert len(set(numbers)) == 8
    assert all(number < 50 for number in numbers)
    assert sum(number >= 45 for number in numbers) == 4  # half are of the rare class


def test_the_label_is_what_the_classifier_decides_from_the_stored_probabilities():
    classifier = tiny.classifier(1.0)
    for each in measured(record(), classifier, 50):  # type: ignore[arg-type]
        assert each.label == max(each.probabilities, key=lambda name: each.probabilities[name])
        assert list(each.probabilities) == classifier.info.class_names


def knowing(**info: object) -> Classifier:
    found = Classifier(tiny.classifier(1.0).root)
    found.info = found.info.model_copy(update=info)
    return found


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"class_names": tiny.CLASSES[::-1]}, "classes are along, across, measured were across, along"),
        ({"operating_point": POINT}, r"operating point is along, 0\.3, measured was with none"),
        ({"abstention": BAND}, r"band of undecided probabilities is 0\.0, 0\.7, measured was with none"),
        ({"familiarity": KNOWN}, r"limit of the distance .* is 6\.0, measured was with none"),
    ],
)
def test_the_same_outputs_under_other_names_or_limits_are_another_answer(info: dict, message: str):
    with pytest.raises(NotTheSame, match=message):
        measured(record(), knowing(**info), 8)  # type: ignore[arg-type]


def test_a_missing_limit_fails_and_an_older_record_knows_none():
    with_band, older = record(), record()
    with_band.evaluation.decisions.abstention = BAND
    older.evaluation.decisions = None
    with pytest.raises(NotTheSame, match=r"is none, measured was with 0\.0, 0\.7"):
        measured(with_band, knowing(), 8)  # type: ignore[arg-type]
    assert len(measured(older, knowing(abstention=BAND), 8)) == 8  # type: ignore[arg-type]


def test_the_operating_point_may_carry_what_it_reaches():
    found = record()
    found.evaluation.test.operating_point = POINT.model_copy(update={"target_sensitivity": 0.5})
    assert {each.label for each in measured(found, knowing(operating_point=POINT), 50)} == {"across", "along"}  # type: ignore[arg-type]


def test_another_distance_fails():
    far = replace(BEFORE[0], distance=0.8)
    near = answered(0, 0)[0]
    assert compare([far], [replace(near, distance=0.82)]).n == 1
    assert compare([far], [near]).n == 1  # not told
    for other in (0.7, 0.9, float("nan")):
        with pytest.raises(NotTheSame, match=r"scans/a\.png: the distance .* measured was 0\.8000"):
            compare([far], [replace(near, distance=other)])


def test_distances_are_those_that_were_stored():
    found = record()
    found.table["distance"] = np.linspace(0.1, 0.9, len(found.table))
    found.evaluation.decisions.familiarity = KNOWN
    stored = found.table.set_index("sample_id")["distance"]
    for each in measured(found, knowing(familiarity=KNOWN), 20):  # type: ignore[arg-type]
        assert each.distance == stored[each.sample_id]
    assert measured(record(), knowing(), 1)[0].distance is None  # type: ignore[arg-type]
