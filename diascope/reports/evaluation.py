"""How good is the winner, where is it wrong, and why did it win?"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from diascope.answers import Abstention, Familiarity
from diascope.curves import pr_curve, roc_curve
from diascope.metrics import Estimate, Metrics, OperatingPoint
from diascope.reports import plots
from diascope.reports.candidate import LEAK_SENTENCE, candidate_values, score_of
from diascope.reports.figures import counted, figure, interval_sentence, percent, score_name, synthetic
from diascope.reports.page import render
from diascope.reports.svg import Point
from diascope.reports.thumbnails import data_uri
from diascope.results import Decisions, Evaluation

if TYPE_CHECKING:
    import pandas as pd

MAX_MISTAKES = 24  # shown as images; the rest are listed by name
GROUP_SENTENCES = {
    "patient": "All images of a patient stand on the same side of every fold.",
    "similarity": "Patients are not known in this data. Groups are inferred from similarity and are not patients: "
    "images that resemble each other stand on the same side of every fold.",
    "image": "Images are dealt to folds one by one, so images of one patient may stand on both sides of a fold and "
    "these scores may flatter.",
}


def evaluation_page(
    evaluation: Evaluation, predictions: "pd.DataFrame", images: Mapping[str, bytes], source: str = ""
) -> str:
    """The page of the winner's evaluation as one HTML file.

    `predictions` has one row per prediction: sample_id, split ("validation" or "test"), label (index of the class) and
    p0 to p{k-1}; `images` maps the sample ids of mistakes to encoded bytes; `source` is where the dataset comes from.
    """
    return render("evaluation_page.html", level=2, **evaluation_values(evaluation, predictions, images, source))


def evaluation_values(
    evaluation: Evaluation, predictions: "pd.DataFrame", images: Mapping[str, bytes], source: str
) -> dict[str, Any]:
    """What the evaluation's template needs."""
    test = evaluation.test
    shown = evaluation.mistakes[:MAX_MISTAKES]
    return {
        "evaluation": evaluation,
        "synthetic": synthetic(source),
        "test": test,
        "headline": headline(test),
        "held_out": "out-of-fold" if evaluation.method == "cross_validation" else "validation split",
        "comparison": comparison(test, evaluation.validation),
        "interval_sentence": interval_sentence(test),
        "validation_interval_sentence": interval_sentence(evaluation.validation),
        "group_sentence": GROUP_SENTENCES.get(evaluation.groups, ""),
        "leak_sentence": LEAK_SENTENCE,
        "curves": curves(test, predictions),
        "confusion": confusion(test),
        "decision_rows": decision_rows(evaluation.decisions) if evaluation.decisions else [],
        "undecided": undecided(evaluation.decisions.abstention, test.operating_point) if evaluation.decisions else "",
        "unfamiliar": unfamiliar(evaluation.decisions.familiarity) if evaluation.decisions else "",
        "reliability": plots.reliability(test.reliability, test.confidence) if test.reliability else None,
        "n_wrong": test.n - sum(row[i] for i, row in enumerate(test.confusion)),
        "shown_mistakes": [(mistake, data_uri(images.get(mistake.sample_id), mistake.sample_id)) for mistake in shown],
        "candidate_rows": candidate_rows(evaluation),
        "candidate_plot": candidate_plot(evaluation),
        "candidate_details": [candidate_values(candidate) for candidate in evaluation.candidates],
    }


def positive_class(metrics: Metrics) -> str:
    """The class that sensitivity is about: of the operating point, else the last of two."""
    return metrics.operating_point.positive_class if metrics.operating_point else metrics.class_names[-1]


def about(metrics: Metrics) -> str:
    """What sensitivity, precision and F1 are averaged over or about."""
    return f"of “{positive_class(metrics)}”" if len(metrics.class_names) == 2 else "mean over classes"


def headline(test: Metrics) -> list[tuple[str, str, Any]]:
    """The figures that a reader sees first: name, remark, estimate."""
    first = [("AUROC", about(test), test.auroc)]
    if len(test.class_names) == 2:
        return [
            *first,
            ("Sensitivity", about(test), test.sensitivity),
            ("Specificity", about(test), test.specificity),
            ("Accuracy", f"majority baseline {figure(test.majority_baseline)}", test.accuracy),
        ]
    return [
        *first,
        ("Balanced accuracy", "mean sensitivity of the classes", test.balanced_accuracy),
        ("Accuracy", f"majority baseline {figure(test.majority_baseline)}", test.accuracy),
    ]


def comparison(test: Metrics, validation: Metrics) -> list[tuple[str, str, Any, Any]]:
    """Rows of the table of all figures: name, remark, on the test split, on training data."""
    mean = about(test)
    rows = [
        ("AUROC", mean, "auroc"),
        ("AUPRC", mean, "auprc"),
        ("Accuracy", "share of images that are right", "accuracy"),
        ("Balanced accuracy", "mean sensitivity of the classes", "balanced_accuracy"),
        ("Sensitivity", mean, "sensitivity"),
        ("Specificity", mean, "specificity"),
        ("Precision", mean, "precision"),
        ("F1", mean, "f1"),
        ("Brier score", "0 is best, 2 is worst", "brier"),
        ("Log loss", "0 is best", "log_loss"),
        ("Calibration error, before", "temperature left out; 0 is best", "ece_uncalibrated"),
        ("Calibration error, after", "0 is best", "ece"),
    ]
    return [(name, remark, getattr(test, key), getattr(validation, key)) for name, remark, key in rows]


def curves(test: Metrics, predictions: "pd.DataFrame") -> dict[str, Any]:
    """ROC and precision-recall curves of the test split with their legend, one class against the rest."""
    rows = predictions[predictions["split"] == "test"]
    labels = rows["label"].to_numpy()
    names = test.class_names
    indices = [names.index(positive_class(test))] if len(names) == 2 else list(range(len(names)))
    defined = [i for i in indices if 0 < (labels == i).sum() < len(labels)]
    roc, pr = [], []
    style = {i: position for position, i in enumerate(indices)}
    for i in defined:
        scores = rows[f"p{i}"].to_numpy()
        false_rate, true_rate, _ = roc_curve(labels == i, scores)
        recall, precision, _ = pr_curve(labels == i, scores)
        roc.append((style[i], list(zip(false_rate.tolist(), true_rate.tolist(), strict=True))))
        pr.append((style[i], steps(recall.tolist(), precision.tolist())))
    return {
        "roc": roc_plot(roc, test.operating_point) if defined else None,
        "pr": pr_plot(pr, [float((labels == i).mean()) for i in defined]) if defined else None,
        "legend": [(style[i], test.per_class[i]) for i in indices],
        "undefined": [names[i] for i in indices if i not in defined],
    }


def steps(x: list[float], y: list[float]) -> list[Point]:
    """Points of a line that changes its height before it moves to the right."""
    corners = [((x[i - 1], y[i]), (x[i], y[i])) for i in range(1, len(x))]
    return [(x[0], y[0]), *(point for corner in corners for point in corner)]


def roc_plot(lines: list[tuple[int, list[Point]]], point: OperatingPoint | None) -> Markup:
    """ROC curves with the diagonal of chance and the operating point."""
    sensitivity = point.sensitivity.value if point and point.sensitivity else None
    specificity = point.specificity.value if point and point.specificity else None
    mark = None if sensitivity is None or specificity is None else (1 - specificity, sensitivity)
    title = "ROC curves: sensitivity against false positive rate on the test split"
    return plots.unit_square(
        title, "false positive rate (1 \N{MINUS SIGN} specificity)", "sensitivity", lines, ((0, 0), (1, 1)), mark
    )


def pr_plot(lines: list[tuple[int, list[Point]]], shares: list[float]) -> Markup:
    """Precision-recall curves; with one curve, the precision of a guess as a dotted line."""
    guess = ((0.0, shares[0]), (1.0, shares[0])) if len(shares) == 1 else None
    title = "Precision-recall curves: precision against sensitivity on the test split"
    return plots.unit_square(title, "sensitivity (recall)", "precision", lines, guess)


def confusion(metrics: Metrics) -> list[tuple[str, int, list[tuple[int, float | None]]]]:
    """Rows of the confusion matrix: true class, its count, and per predicted class the count and share of the row."""
    rows = []
    for name, counts in zip(metrics.class_names, metrics.confusion, strict=True):
        total = sum(counts)
        rows.append((name, total, [(n, n / total if total else None) for n in counts]))
    return rows


def decision_rows(decisions: Decisions) -> list[tuple[str, str, int, Estimate, Estimate | None]]:
    """Decision, what it means, number of test images, their share, and the accuracy among them."""
    return [
        ("ok", "answered", decisions.n_ok, decisions.ok, decisions.accuracy),
        (
            "uncertain",
            "left to a person; accuracy, had they been answered",
            decisions.n_uncertain,
            decisions.uncertain,
            decisions.accuracy_of_uncertain,
        ),
        (
            "out_of_distribution",
            "called unlike the training images; here all of them false alarms",
            decisions.n_out_of_distribution,
            decisions.out_of_distribution,
            None,
        ),
    ]


def undecided(abstention: Abstention | None, point: OperatingPoint | None) -> str:
    """When a classifier leaves the decision to a person, as a sentence without its end."""
    if abstention is None:
        return "never"
    band = f"where the most probable class has a probability below {figure(abstention.high)}"
    if point:
        band = (
            f"where the probability of “{point.positive_class}” is between {figure(abstention.low)} and "
            f"{figure(abstention.high)}"
        )
    return f"{band}, as for {percent(abstention.share)} of held-out training images"


def unfamiliar(known: Familiarity | None) -> str:
    """When a classifier calls an image unlike its training images, as a sentence without its end."""
    if known is None:
        return "never: no reference statistics are stored"
    return (
        f"where the distance to the training images is above {figure(known.threshold, 2)}, the "
        f"{known.percentile:g}th percentile of {counted(known.n, 'held-out training image')}. {known.method}"
    )


def candidate_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Candidates side by side, in the order of the configuration."""
    rows = []
    for candidate in evaluation.candidates:
        score = score_of(candidate.scores, evaluation.metric)
        plain = score_of(candidate.plain_scores, evaluation.metric)
        rows.append(
            {
                "candidate": candidate,
                "won": candidate.name == evaluation.winner.name,
                "score": score,
                "plain": plain,
                "leak": None if score is None or plain is None else plain - score,
            }
        )
    return rows


def candidate_plot(evaluation: Evaluation) -> Markup | None:
    """The candidates' scores as points, where there is more than one to compare."""
    rows = [
        (row["candidate"].name, row["score"], row["plain"], row["won"])
        for row in candidate_rows(evaluation)
        if row["score"] is not None
    ]
    return plots.candidate_scores(score_name(evaluation.metric), rows) if rows else None
