"""Everything about one model in one file."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from diascope.reports.data import data_values
from diascope.reports.evaluation import evaluation_values
from diascope.reports.page import render
from diascope.results import Evaluation

if TYPE_CHECKING:
    import pandas as pd

    from diascope.dataset import Dataset
    from diascope.promotion import Decision


def report_page(
    evaluation: Evaluation,
    predictions: "pd.DataFrame",
    images: Mapping[str, bytes],
    dataset: "Dataset",
    decision: "Decision | None" = None,
) -> str:
    """The whole report as one HTML file: decision, evaluation, candidates and data.

    Arguments as for `evaluation_page`; without a decision the report says that none was recorded.
    """
    return render(
        "report_page.html",
        level=3,
        decision=decision,
        **evaluation_values(evaluation, predictions, images),
        **data_values(dataset),
    )
