"""How is a figure written so that nobody reads more into it than is there?"""

import math
from collections.abc import Sequence

from diascope.config import DEMO
from diascope.metrics import Estimate, Metrics

UNDEFINED = "not defined"
MINUS = "\N{MINUS SIGN}"
SCORE_NAMES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "log_loss": "log loss",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
    "f1": "F1",
}


def figure(value: float | None, digits: int = 3) -> str:
    """A number with a fixed count of decimals and a true minus sign, or `not defined`."""
    if value is None or not math.isfinite(value):
        return UNDEFINED
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", MINUS)


def interval(estimate: Estimate) -> str:
    """The interval of an estimate in brackets, empty where there is none."""
    if figure(estimate.value) == UNDEFINED:
        return ""
    low, high = figure(estimate.low), figure(estimate.high)
    return "" if UNDEFINED in (low, high) else f"({low} to {high})"


def estimate(value: Estimate | None) -> str:
    """`0.902 (0.870 to 0.931)`, the value alone where there is no interval, or `not defined`."""
    return UNDEFINED if value is None else f"{figure(value.value)} {interval(value)}".rstrip()


def count(n: int) -> str:
    """A count with thousands separated."""
    return f"{n:,}"


def counted(n: int, singular: str, plural: str = "") -> str:
    """`1 image`, `1,000 images`."""
    return f"{n:,} {singular if n == 1 else plural or singular + 's'}"


def brief(value: object) -> str:
    """A setting as a person would write it: no trailing zeros, lists with commas."""
    if value is None:
        return UNDEFINED
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}".replace("-", MINUS) if math.isfinite(value) else UNDEFINED
    if isinstance(value, dict):
        return ", ".join(f"{str(key).replace('_', ' ')} {brief(entry)}" for key, entry in value.items()) or "none"
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(brief(entry) for entry in value) or "none"
    return str(value)


def score_name(metric: str) -> str:
    """The name of a metric in running text."""
    return SCORE_NAMES.get(metric, metric.replace("_", " "))


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), *names[-1:]] if len(names) > 1 else names)


def percent(share: float) -> str:
    """`95 %`."""
    return f"{100 * share:.3g} %"


def interval_sentence(metrics: Metrics) -> str:
    """What was resampled for the intervals, and what they leave out."""
    drawn = counted(metrics.n, "image")
    if metrics.n_groups is not None and metrics.interval_unit != "image":
        drawn = f"{counted(metrics.n_groups, metrics.interval_unit)} with {drawn}"
    resamples = counted(metrics.resamples, "bootstrap resample")
    text = f"{percent(metrics.confidence)} intervals from {resamples} of {drawn}."
    if metrics.interval_unit == "image":
        text += " Where several images come from one patient, the true uncertainty is larger than these intervals say."
    if metrics.interval_unit == "inferred group":
        text += " Groups are inferred from similarity and are not patients."
    return text


def synthetic(source: str) -> str:
    """What must be said where the images are drawn; empty for others."""
    if source != DEMO:
        return ""
    return (
        "Synthetic images: drawn by a program, not taken of patients. Figures on them say that everything works and "
        "nothing about medicine."
    )
