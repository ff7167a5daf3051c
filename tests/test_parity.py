from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tiny

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


class Record:
    """Stands for a stored evaluation."""

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table

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
