"""Does what answers now answer as was measured?"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diascope.schema import Frozen

if TYPE_CHECKING:
    import pandas as pd

    from diascope.classifier import Classifier, ClassifierInfo
    from diascope.evaluation import EvaluationRecord
    from diascope.results import Evaluation

TOLERANCE = 0.01  # of a probability: other CPUs round bf16 otherwise, and nothing else may differ
DISTANCE_TOLERANCE = 0.05  # of the distance to the training images, as a share of it; rounding makes images look unlike


@dataclass(frozen=True)
class Measured:
    """What the evaluation stored of one test image."""

    sample_id: str
    label: str
    probabilities: dict[str, float]
    distance: float | None = None  # relative to its limit; None where none is stored


@dataclass(frozen=True)
class Answered:
    """What the same image is answered now."""

    label: str
    probabilities: Mapping[str, float]
    distance: float | None = None


class Parity(Frozen):
    """How near all answers came to what was measured."""

    n: int
    largest_difference: float  # of any probability
    same_labels: bool


class NotTheSame(RuntimeError):
    """An image is answered otherwise than it was measured; the message names it and the difference."""


def measured(record: "EvaluationRecord", classifier: "Classifier", n: int) -> list[Measured]:
    """Return what is stored of `n` test images, the same ones at every call and of each class as many as can be.

    Raises
    ------
    NotTheSame: the classifier names its classes otherwise than the evaluation does, or decides by other limits.
    """
    from diascope.evaluation import probability_columns

    _hold(classifier.info, record.evaluation)
    table = record.predictions()
    table = table[table["split"] == "test"].sort_values(["sha256", "sample_id"])
    table = table.assign(place=table.groupby("label").cumcount()).sort_values(["place", "label"]).head(n)
    probabilities = probability_columns(table)
    names = record.evaluation.class_names
    labels, distances = classifier.decide(probabilities), _distances(table, classifier.info)
    return [
        Measured(sample_id, label, dict(zip(names, row, strict=True)), distance)
        for sample_id, label, row, distance in zip(
            table["sample_id"], labels, probabilities.tolist(), distances, strict=True
        )
    ]


def _hold(info: "ClassifierInfo", evaluation: "Evaluation") -> None:
    """Classes in another order, or another limit, would make the same outputs another answer."""
    names, measured_names = info.class_names, evaluation.class_names
    if names != measured_names:
        raise NotTheSame(f"The classifier's classes are {', '.join(names)}, measured were {', '.join(measured_names)}.")
    pairs: list[tuple[str, Frozen | None, Frozen | None, tuple[str, ...]]] = [
        ("operating point", info.operating_point, evaluation.test.operating_point, ("positive_class", "threshold"))
    ]
    if evaluation.decisions is not None:  # an older record knows nothing of them
        found = evaluation.decisions
        pairs += [
            ("band of undecided probabilities", info.abstention, found.abstention, ("low", "high")),
            ("limit of the distance to training images", info.familiarity, found.familiarity, ("threshold",)),
        ]
    for what, now, before, keys in pairs:
        texts = [", ".join(str(getattr(each, key)) for key in keys) if each else "none" for each in (now, before)]
        if texts[0] != texts[1]:
            raise NotTheSame(f"The classifier's {what} is {texts[0]}, measured was with {texts[1]}.")


def _distances(table: "pd.DataFrame", info: "ClassifierInfo") -> list[float | None]:
    if info.familiarity is None or "distance" not in table:
        return [None] * len(table)
    return table["distance"].tolist()


def compare(expected: Sequence[Measured], answers: Iterable[Answered]) -> Parity:
    """Return how near the answers are.

    Distances are compared where both sides tell one.

    Raises
    ------
    NotTheSame: a label differs, a probability by more than 0.01 or a distance by more than 5 %; names the image.
    """
    largest = 0.0
    for before, now in zip(expected, answers, strict=True):
        if set(now.probabilities) != set(before.probabilities):
            classes = (", ".join(sorted(each.probabilities)) for each in (now, before))
            raise NotTheSame(f"{before.sample_id}: the classes are {next(classes)}, measured were {next(classes)}.")
        name, difference = _largest(before.probabilities, now.probabilities)
        if now.label != before.label or not difference <= TOLERANCE:  # NaN too
            raise NotTheSame(
                f"{before.sample_id}: answered is {now.label!r}, measured was {before.label!r}; the probability of "
                f"{name!r} is {now.probabilities[name]:.4f}, measured was {before.probabilities[name]:.4f} "
                f"(difference {difference:.4f}, at most {TOLERANCE} is allowed)."
            )
        _compare_distances(before, now)
        largest = max(largest, difference)
    return Parity(n=len(expected), largest_difference=largest, same_labels=True)


def _compare_distances(before: Measured, now: Answered) -> None:
    if before.distance is None or now.distance is None:
        return
    if not abs(now.distance - before.distance) <= DISTANCE_TOLERANCE * max(before.distance, 1e-6):  # NaN too
        raise NotTheSame(
            f"{before.sample_id}: the distance to the training images is {now.distance:.4f} times the limit, measured "
            f"was {before.distance:.4f} (at most {DISTANCE_TOLERANCE:.0%} of it is allowed)."
        )


def _largest(before: Mapping[str, float], now: Mapping[str, float]) -> tuple[str, float]:
    """The class whose probability differs most, and by how much."""
    differences = {name: abs(now[name] - before[name]) for name in before}
    for name, difference in differences.items():
        if difference != difference:  # NaN, which max passes over
            return name, difference
    name = max(differences, key=lambda each: differences[each])
    return name, differences[name]
