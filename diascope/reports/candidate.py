"""How did one candidate learn, and how good is it on training data alone?"""

import math
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from diascope.reports import plots
from diascope.reports.figures import brief, figure
from diascope.reports.page import render
from diascope.reports.search import search_values
from diascope.results import CandidateResult

LEAK_SENTENCE = (
    "The difference measures the leak: what a score gains when images that resemble those it was fitted on "
    "(other slices of the same patient, as a rule) are among those it is measured on."
)


def candidate_page(result: CandidateResult) -> str:
    """The page of one candidate as one HTML file: scores both ways, training curve, settings and costs."""
    return render("candidate_page.html", level=2, **candidate_values(result))


def candidate_values(result: CandidateResult) -> dict[str, Any]:
    """What the candidate's template needs."""
    plain = result.plain_scores
    names = [*result.scores, *(name for name in plain or {} if name not in result.scores)]
    return {
        "candidate": result,
        "scores": [(name, score_of(result.scores, name), score_of(plain, name)) for name in names],
        "leak_sentence": LEAK_SENTENCE,
        "curves": curves(result),
        "curve_sentence": curve_sentence(result),
        "settings": settings(result),
        "search": search_values(result.search),
    }


def settings(result: CandidateResult) -> list[tuple[str, str]]:
    """What was given, what was chosen, and what it costs."""
    return [
        ("Backbone", result.backbone),
        ("Description", result.description),
        *tried(result),
        *((f"Chosen {key.replace('_', ' ')}", brief(value)) for key, value in result.chosen.items()),
        (
            "Time per image",
            f"{figure(result.milliseconds, 1)} ms (up to its features, fastest of 30, on the machine that trained)",
        ),
        ("Fitting and comparing", f"{figure(result.seconds, 1)} s (features not included)"),
        ("Size of the network", f"{figure(result.megabytes, 1)} MB"),
    ]


def tried(result: CandidateResult) -> list[tuple[str, str]]:
    """How many settings were tried to find it, and what that makes of its score; nothing where none were."""
    if not result.trials:
        return []
    what = "Feature sets tried" if result.search else "Settings tried"
    found = [(what, f"{result.trials:,}; the best has a score that is too good")]
    if result.corrected is not None:
        found.append(("Score without what the choice adds", figure(result.corrected)))
    return found


def score_of(scores: Mapping[str, float] | None, metric: str) -> float | None:
    """A finite score, or None."""
    value = (scores or {}).get(metric)
    return value if value is not None and math.isfinite(value) else None


def curves(result: CandidateResult) -> list[tuple[Markup, list[tuple[int, str]]]]:
    """Loss and AUROC over epochs or settings, each with its legend; nothing where no curve was recorded."""
    x = [point.x for point in result.curve]
    fitted = [point.loss for point in result.curve]
    held_out = [_or_nan(point.held_out_loss) for point in result.curve]
    auroc = [_or_nan(point.held_out_auroc) for point in result.curve]
    losses = [(0, "loss on fitted images", fitted), (1, "loss on held-out images", held_out)]
    panels = [("log loss", losses), ("AUROC", [(1, "AUROC on held-out images", auroc)])]
    drawn = []
    for y_label, lines in panels:
        kept = [line for line in lines if any(map(math.isfinite, line[2]))]
        if kept:
            plot = plots.training_curve(result.curve_axis, x, kept, y_label, chosen(result))
            drawn.append((plot, [(index, name) for index, name, _ in kept]))
    return drawn


def chosen(result: CandidateResult) -> float | None:
    """The epoch or setting that was taken, where it is one of the curve's."""
    key = _chosen_key(result)
    return result.chosen[key] if key and result.chosen[key] in {point.x for point in result.curve} else None


def curve_sentence(result: CandidateResult) -> str:
    """What the curve is of, and what its dashed line marks where there is one."""
    key = _chosen_key(result)
    words = []
    if result.curve_axis == "epoch":
        made = result.candidate
        watched = made is not None and made.trains_network and not made.decides_by_loss
        what = "were watched, and decided nothing" if watched else "were set aside there to stop by"
        words.append(f"The curve is that of the first fold; its held-out images are those that {what}.")
    elif key and key.endswith("_decay") and key != "weight_decay":
        words.append(f"The curve is that of the {key.removesuffix('_decay')} head.")
    if chosen(result) is not None:
        words.append("The dashed vertical line marks what was chosen, over all folds.")
    return " ".join(words)


def _chosen_key(result: CandidateResult) -> str:
    """The name under which what was chosen along the curve's axis is kept: of several heads, that of the first."""
    axis = result.curve_axis.replace(" ", "_")
    last = "_" + axis.split("_")[-1]
    return next((key for key in result.chosen if key in (axis, axis + "s") or key.endswith(last)), "")


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
