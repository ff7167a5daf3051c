"""What came out of a batch, and which of its images should a person look at?"""

from collections.abc import Sequence

from markupsafe import Markup

from diascope.inference_results import FURTHEST, BatchSummary, Examples
from diascope.inference_table import ERROR
from diascope.reports import plots
from diascope.reports.data import count_table
from diascope.reports.page import render

NAMES = {
    "ok": "ok",
    "uncertain": "uncertain",
    "out_of_distribution": "out of distribution",
    ERROR: "error",
}
MEANINGS = {
    "ok": "answered",
    "uncertain": "left to a person: too near to being decided otherwise",
    "out_of_distribution": "unlike the images that the model was trained on",
    ERROR: "no image that can be read",
}


def inference_page(summary: BatchSummary, examples: Examples) -> str:
    """The page of a batch as one HTML file."""
    statuses = sorted(set(summary.statuses) - {ERROR})  # as in the table of counts
    by_status = {s: {name: found[s] for name, found in summary.counts.items()} for s in statuses}
    return render(
        "inference_page.html",
        level=2,
        info=summary.info,
        summary=summary,
        names=NAMES,
        cards=[(NAMES[status], n, MEANINGS[status]) for status, n in summary.statuses.items()],
        table=count_table(summary.info.class_names, {NAMES[s]: counts for s, counts in by_status.items()}),
        probabilities=_histogram([summary.probabilities[s] for s in statuses], "probability of the label", 1.0),
        distances=_histogram([summary.distances], "distance to the training images, 1 is the limit", FURTHEST),
        examples=[
            ("Nearest to being decided otherwise", examples.uncertain),
            ("Furthest from the training images", examples.foreign),
        ],
    )


def _histogram(series: Sequence[Sequence[int]], label: str, end: float) -> Markup | None:
    return plots.histogram(series, label, end) if any(map(sum, series)) else None
