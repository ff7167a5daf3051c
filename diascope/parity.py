"""Does what answers now answer as was measured?"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diascope.schema import Frozen

if TYPE_CHECKING:
    from diascope.classifier import Classifier
    from diascope.evaluation import EvaluationRecord

TOLERANCE = 0.01  # of a probability: other CPUs round bf16 otherwise, and nothing else may differ


@dataclass(frozen=True)
class Measured:
    """What the evaluation stored of one test image."""

    sample_id: str
    label: str
    probabilities: dict[str, float]


@dataclass(frozen=True)
class Answered:
    """What the same image is answered now."""

    label: str
    probabilities: Mapping[str, float]


class Parity(Frozen):
    """How near all answers came to what was measured."""

    n: int
    largest_difference: float  # of any probability
    same_labels: bool


class NotTheSame(RuntimeError):
    """An image is answered otherwise than it was measured; the message names it and the difference."""


def measured(record: "EvaluationRecord", classifier: "Classifier", n: int) -> list[Measured]:
    """Return what is stored of `n` test images, the same ones at every call and of each class as many as can be."""
    from diascope.evaluation import probability_columns

    table = record.predictions()
    table = table[table["split"] == "test"].sort_values(["sha256", "sample_id"])
    table = table.assign(place=table.groupby("label").cumcount()).sort_values(["place", "label"]).head(n)
    probabilities = probability_columns(table)
    names = classifier.info.class_names
    return [
        Measured(sample_id, label, dict(zip(names, row, strict=True)))
        for sample_id, label, row in zip(
            table["sample_id"], classifier.decide(probabilities), probabilities.tolist(), strict=True
        )
    ]


def compare(expected: Sequence[Measured], answers: Iterable[Answered]) -> Parity:
    """Return how near the answers are.

    Raises
    ------
    NotTheSame: a label differs, or a probability by more than 0.01; names the image.
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
        largest = max(largest, difference)
    return Parity(n=len(expected), largest_difference=largest, same_labels=True)


def _largest(before: Mapping[str, float], now: Mapping[str, float]) -> tuple[str, float]:
    """The class whose probability differs most, and by how much."""
    differences = {name: abs(now[name] - before[name]) for name in before}
    for name, difference in differences.items():
        if difference != difference:  # NaN, which max passes over
            return name, difference
    name = max(differences, key=lambda each: differences[each])
    return name, differences[name]
