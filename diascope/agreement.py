"""How many of those who looked at an image agree with its label?"""

from collections.abc import Iterable, Mapping

from diascope.config import Annotations
from diascope.errors import InputError, nearest, quoted
from diascope.records import Record


def agreed(row: Mapping[str, str], label: str, annotations: Annotations, line: int) -> float:
    """Return the share of the annotators who agree with the label of a row, 0 to 1; 1 where the row does not say.

    Raises InputError, which names the line, where it is no number, or more than there are annotators.
    """
    columns = annotations.columns
    column = columns.votes or columns.agreement
    text = row[column].strip() if column else ""
    if not column or not text:
        return 1.0
    most = annotations.annotators or 1
    number = _number(text)
    whole = annotations.annotators is not None  # then people are counted
    if number is None or not 0 <= number <= most or (whole and number != int(number)):
        what = f"a whole number from 0 to {most}" if whole else "a number from 0 to 1"
        where = "dataset.annotations.annotators says how many there are" + ("" if whole else "; without it, a share")
        raise InputError(f"{annotations.file}: line {line} has {text!r} in {column!r}, which is not {what} ({where})")
    share = number / most
    return 1 - share if columns.votes and label != annotations.votes_for else share


def check_votes(annotations: Annotations, labels: set[str]) -> None:
    """Raise InputError where votes for one label do not say who agrees with another."""
    chosen = annotations.votes_for
    if chosen is None:
        return
    if chosen not in labels:
        raise InputError(
            f"dataset.annotations.votes_for: {annotations.file} has no label {chosen!r}; the nearest is "
            f"{nearest(chosen, labels)!r}"
        )
    if len(labels) > 2:
        raise InputError(
            f"dataset.annotations.columns.votes: votes for {chosen!r} do not say who agrees with one of the "
            f"{len(labels) - 1} other labels; give columns.agreement"
        )


def doubts(records: Iterable[Record]) -> list[str]:
    """Return a notice of images whose label most annotators do not share, if there are any."""
    names = [record.name for record in records if record.agreement < 0.5]
    count = "1 image has a label" if len(names) == 1 else f"{len(names)} images have a label"
    return [f"{count} that fewer than half of the annotators share: {quoted(names)}."] if names else []


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
