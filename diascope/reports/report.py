"""Everything about one model in one file."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from diascope.reports.data import data_values
from diascope.reports.evaluation import evaluation_values
from diascope.reports.figures import MINUS
from diascope.reports.page import render
from diascope.results import Evaluation

if TYPE_CHECKING:
    import pandas as pd

    from diascope.dataset import Dataset
    from diascope.promotion import Decision

BEFORE_NUMBER = re.compile(r"(?<![\w.])-(?=\d)")


def report_page(
    evaluation: Evaluation,
    predictions: "pd.DataFrame",
    images: Mapping[str, bytes],
    dataset: "Dataset",
    decision: "Decision | None" = None,
    model: str = "",
) -> str:
    """The whole report as one HTML file: decision, evaluation, candidates and data.

    Arguments as for `evaluation_page`; without a decision the report says that none was recorded; `model` says which
    model it is: name, version, date.
    """
    return render(
        "report_page.html",
        level=3,
        verdict=verdict(decision),
        model=model,
        **(evaluation_values(evaluation, predictions, images, dataset.info.source) | data_values(dataset)),
    )


def verdict(decision: "Decision | None") -> dict[str, str] | None:
    """What was decided, as a title and the reason without the words of the title; with true minus signs."""
    if decision is None:
        return None
    kind, title = ("yes", "Promoted to production") if decision.promoted else ("no", "Not promoted")
    if decision.case == "identical":
        kind, title = "same", "Not promoted again"
    reason = decision.reason
    for words in ("Promoted: ", "Not promoted: ", "Not promoted again: "):
        reason = reason.removeprefix(words)
    return {"kind": kind, "title": title, "reason": BEFORE_NUMBER.sub(MINUS, reason[:1].upper() + reason[1:])}
