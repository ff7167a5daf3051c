"""Does the new model deserve production?"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diascope.config import PromotionConfig
from diascope.metrics import Estimate, Metrics, paired_bootstrap
from diascope.schema import Frozen

Case = Literal[
    "first", "better", "not_worse", "inconclusive", "worse", "floor", "metric_missing", "identical", "not_comparable"
]
FEWEST_PER_CLASS = 5  # common test images; with fewer, two models hardly ever differ and a tie says nothing
SAME = 1e-6  # largest difference of a probability between two models that give the same answers

NAMES = {
    "auroc": "AUROC",
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
}


@dataclass(frozen=True)
class Champion:
    """The model in production, as seen by the test images of the challenger that it was not trained on."""

    version: str
    probabilities: NDArray[np.float64] | None = None  # (m, k); None where it cannot be run on them
    n_excluded: int = 0  # test images left out because it was trained on them
    outdated: bool = False  # it cannot tell foreign images, which the challenger can: the same answers are not enough
    why_not: str = ""  # why there are no probabilities: the end of a sentence after "because"


class Decision(Frozen):
    """What the gate decided, in one sentence with the figures it rests on."""

    promoted: bool
    case: Case
    reason: str
    difference: Estimate | None = None  # AUROC of the new model minus that of the one in production
    n: int | None = None  # images that the decision rests on


def decide(
    challenger: Metrics,
    config: PromotionConfig,
    *,
    champion: Champion | None,
    identical: bool = False,
    labels: ArrayLike | None = None,
    probabilities: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    seed: int = 0,
) -> Decision:
    """Whether the challenger goes into production, from its test metrics and the same images seen by the champion.

    `champion` is None where nothing is in production; `identical` says that the champion is the same stored model.
    `labels` (m,), `probabilities` (m, k) of the challenger and `groups` (m,) belong to the rows of
    `champion.probabilities`. The challenger must reach every floor with the lower end of its interval, and its AUROC
    must be shown not to lie more than `config.margin` below the champion's (non-inferiority, on the lower end
    of the paired interval: Piaggio et al., Reporting of Noninferiority and Equivalence Randomized Trials, JAMA 2012).
    `config.replace` promotes it also where the two cannot be compared.
    """
    if champion is not None and (identical or (_same_answers(champion, probabilities) and not champion.outdated)):
        reason = f"Not promoted again: version {champion.version}, in production, gives the same answers."
        return Decision(promoted=False, case="identical", reason=reason)
    below = _floor(challenger, config)
    if below is not None:
        return below
    if champion is None:
        reason = f"Promoted as the first model in production: {_floors_kept(challenger, config)}."
        return Decision(promoted=True, case="first", reason=reason, n=challenger.n)
    obstacle = _obstacle(champion, labels)
    if obstacle:
        return _not_comparable(champion, obstacle, challenger, config)
    return _compared(challenger, config, champion, labels, probabilities, groups, seed)


def _floor(challenger: Metrics, config: PromotionConfig) -> Decision | None:
    """The refusal by the first floor that is not kept, if any."""
    for metric, floor in config.floors.items():
        name, estimate = NAMES[metric], getattr(challenger, metric)
        needed = f"the lower end must reach {_figure(floor)}"
        if estimate.value is None or estimate.low is None:
            part = "is not defined" if estimate.value is None else f"of {_figure(estimate.value)} has no interval"
            reason = f"Not promoted: the {name} on {_sample(challenger)} {part}, and {needed}."
            return Decision(promoted=False, case="metric_missing", reason=reason, n=challenger.n)
        if estimate.low < floor:
            reason = f"Not promoted: {name} {_interval(estimate, challenger)} on {_sample(challenger)}; {needed}."
            return Decision(promoted=False, case="floor", reason=reason, n=challenger.n)
    return None


def _floors_kept(challenger: Metrics, config: PromotionConfig) -> str:
    kept = [
        f"{NAMES[metric]} {_interval(getattr(challenger, metric), challenger)} keeps the floor of {_figure(floor)}"
        for metric, floor in config.floors.items()
    ]
    if kept:
        return f"{', '.join(kept)}, on {_sample(challenger)}"
    if challenger.auroc.value is None:
        return f"no floor is set, and its AUROC on {_sample(challenger)} is not defined"
    return f"no floor is set; AUROC {_interval(challenger.auroc, challenger)} on {_sample(challenger)}"


def _same_answers(champion: Champion, probabilities: ArrayLike | None) -> bool:
    if champion.probabilities is None or probabilities is None or len(champion.probabilities) == 0:
        return False
    ours, theirs = np.asarray(probabilities, dtype=np.float64), np.asarray(champion.probabilities, dtype=np.float64)
    return ours.shape == theirs.shape and bool(np.abs(ours - theirs).max() <= SAME)


def _obstacle(champion: Champion, labels: ArrayLike | None) -> str:
    """Why the two models cannot be compared, as the end of a sentence after "because"; empty where they can."""
    if champion.probabilities is None:
        return champion.why_not or "it could not be run on the test images"
    excluded = f" ({champion.n_excluded} are left out because it was trained on them)" if champion.n_excluded else ""
    truth = np.asarray([] if labels is None else labels, dtype=np.intp)
    if len(truth) == 0:
        return f"there is no test image that it was not trained on{excluded}"
    counts = np.bincount(truth, minlength=champion.probabilities.shape[1])
    if counts.min() < FEWEST_PER_CLASS:
        return f"one class has only {counts.min()} of the {len(truth)} common test images{excluded}"
    return ""


def _not_comparable(champion: Champion, obstacle: str, challenger: Metrics, config: PromotionConfig) -> Decision:
    because = f"cannot be compared with version {champion.version}, in production, because {obstacle}"
    if config.replace:
        kept = _floors_kept(challenger, config)
        reason = f"Promoted although it {because}: the configuration says to replace it; {kept}."
    else:
        reason = f"Not promoted: it {because}; to replace it all the same, set promotion.replace to true."
    return Decision(promoted=config.replace, case="not_comparable", reason=reason, n=challenger.n)


def _compared(
    challenger: Metrics,
    config: PromotionConfig,
    champion: Champion,
    labels: ArrayLike | None,
    probabilities: ArrayLike | None,
    groups: ArrayLike | None,
    seed: int,
) -> Decision:
    if labels is None or probabilities is None or champion.probabilities is None:
        raise ValueError("a comparison needs labels and the probabilities of both models")
    difference = paired_bootstrap(
        labels,
        probabilities,
        champion.probabilities,
        groups=groups,
        resamples=challenger.resamples,
        confidence=challenger.confidence,
        seed=seed,
    )
    n = len(np.asarray(labels))
    if difference.value is None or difference.low is None or difference.high is None:
        obstacle = f"the AUROC is not defined in enough resamples of the {n} common test images"
        return _not_comparable(champion, obstacle, challenger, config)
    case, words = _verdict(difference.low, difference.high, config.margin)
    promoted = case in ("better", "not_worse")
    figures = (
        f"difference in AUROC {difference.value:+.3f}, {_percent(challenger)} % interval {difference.low:+.3f} to "
        f"{difference.high:+.3f}, on {_common(n, champion, challenger, groups)}"
    )
    reason = (
        f"{'Promoted' if promoted else 'Not promoted'}: {words} version {champion.version}, in production ({figures})"
    )
    ending = f"; {_floors_kept(challenger, config)}." if promoted and config.floors else "."
    return Decision(promoted=promoted, case=case, reason=reason + ending, difference=difference, n=n)


def _verdict(low: float, high: float, margin: float) -> tuple[Case, str]:
    if low > 0:
        return "better", "it is better than"
    if low >= -margin:
        return "not_worse", f"it is not worse, by the margin of {_figure(margin)}, than"
    if high < 0:
        return "worse", "it is worse than"
    return "inconclusive", f"it cannot be shown to be not worse, by the margin of {_figure(margin)}, than"


def _sample(metrics: Metrics) -> str:
    units = f" of {metrics.n_groups} {metrics.interval_unit}s" if metrics.n_groups is not None else ""
    return f"{metrics.n} test images{units}"


def _common(n: int, champion: Champion, challenger: Metrics, groups: ArrayLike | None) -> str:
    units = f" of {len(np.unique(np.asarray(groups)))} {challenger.interval_unit}s" if groups is not None else ""
    excluded = f"; {champion.n_excluded} left out because it was trained on them" if champion.n_excluded else ""
    return f"the same {n} test images{units}{excluded}"


def _interval(estimate: Estimate, metrics: Metrics) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "without an interval"
    return f"{estimate.value:.3f} ({_percent(metrics)} % interval {estimate.low:.3f} to {estimate.high:.3f})"


def _percent(metrics: Metrics) -> str:
    return f"{100 * metrics.confidence:g}"


def _figure(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".") if value == round(value, 3) else f"{value:g}"
