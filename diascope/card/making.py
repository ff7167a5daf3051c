"""How does a card come out of what a run has stored?"""

from datetime import datetime
from typing import TYPE_CHECKING

from diascope.card import limits
from diascope.card.claim import claim
from diascope.card.data import data, public
from diascope.card.schema import (
    Calibration,
    Card,
    Contender,
    DecisionRule,
    Explanation,
    Figure,
    InputText,
    Measured,
    ModelName,
    Network,
    Promotion,
    Selection,
)
from diascope.explanation import CAUTION
from diascope.images import FORMATS, MAX_PIXELS
from diascope.reports.evaluation import about
from diascope.reports.figures import counted, figure, interval_sentence
from diascope.statement import Statement

if TYPE_CHECKING:
    from diascope.classifier import ClassifierInfo
    from diascope.dataset import DatasetInfo
    from diascope.metrics import Metrics
    from diascope.promotion import Decision
    from diascope.results import CandidateResult, Evaluation

RESEARCH_USE_ONLY = "Research use only. Not a medical device."
DECODING = (
    "formats are told by content; the first frame of several; upright by EXIF; alpha on black; deeper grey scaled "
    "linearly from its smallest to its largest value; DICOM through its rescale and window"
)
FIGURES = {
    "auroc": "AUROC",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "auprc": "AUPRC",
    "precision": "Precision",
    "f1": "F1",
    "brier": "Brier score",
    "log_loss": "Log loss",
}
ABOUT = {
    "accuracy": "share of images that are right",
    "balanced_accuracy": "mean sensitivity of the classes",
    "brier": "0 is best, 2 is worst",
    "log_loss": "0 is best",
}


def make_card(
    info: "ClassifierInfo",
    evaluation: "Evaluation",
    dataset: "DatasetInfo",
    decision: "Decision | None",
    *,
    name: str,
    version: str,
    created: datetime | str,
    stage: str = "production",
    statement: Statement | None = None,
) -> Card:
    """Return the card of a model version from what its run has stored.

    File names and patients of the data are left out, because a card goes where the data may not.
    """
    said = statement or Statement()
    card = Card(
        model=ModelName(name=name, version=version, created=_moment(created), stage=stage),
        research_use_only=RESEARCH_USE_ONLY,
        intended_use=said.texts()["intended_use"],
        limits=[],
        statement=said.texts(),
        class_names=info.class_names,
        input=_input(info),
        network=_network(info, evaluation.winner),
        decision=_rule(info, evaluation),
        data=data(dataset, evaluation),
        test=_measured(evaluation.test),
        validation=_measured(evaluation.validation),
        calibration=_calibration(evaluation),
        selection=Selection(
            metric=evaluation.metric, method=evaluation.method, groups=evaluation.groups, reason=evaluation.selection
        ),
        candidates=[_contender(each, evaluation) for each in evaluation.candidates],
        promotion=None if decision is None else Promotion(**decision.model_dump()),
        explanation=_explanation(info),
        seeds={"training": info.training.seed, "evaluation": evaluation.seed},
        versions=info.versions,
        files=info.files,
        claim=[],
    )
    card = card.model_copy(update={"limits": limits.of(card, said)})
    return card.model_copy(update={"claim": claim(card)})


def _moment(created: datetime | str) -> str:
    return created.isoformat(timespec="seconds") if isinstance(created, datetime) else created


def _input(info: "ClassifierInfo") -> InputText:
    taken = info.input.model_dump() | {"preparation": info.input.preparation.sentence}
    return InputText(formats=[*FORMATS, "DICOM"], max_pixels=MAX_PIXELS, decoding=DECODING, **taken)


def _network(info: "ClassifierInfo", winner: "CandidateResult") -> Network:
    settings = dict(info.training.candidate)
    if "weights" in settings:
        settings["weights"] = public(str(settings["weights"]))
    return Network(
        candidate=winner.name,
        backbone=winner.backbone,
        description=winner.description,
        initialisation=_initialisation(settings),
        training=_training(settings, winner.chosen),
        ensemble=_ensemble(settings, winner.chosen),
        settings=settings,
        chosen=winner.chosen,
        n_fitted=info.training.n,
        precision=info.precision,
        megabytes=winner.megabytes,
        gigamacs=winner.gigamacs,
    )


def _trains_network(settings: dict, chosen: dict[str, float]) -> bool:
    tuned = settings.get("fine_tune_layers", 0) > 0 and chosen.get("fine_tuned", 1) > 0
    return settings.get("backbone") == "compact_cnn" or tuned or bool(settings.get("original"))


def _initialisation(settings: dict) -> str:
    weights = str(settings.get("weights", ""))
    if weights == "imagenet":
        return "the backbone from ImageNet weights as Keras publishes them (transfer learning)"
    if weights == "none":
        return "random weights, drawn from the seed"
    return f"the backbone from weights of the user's own ({weights})" if weights else "not recorded"


def _training(settings: dict, chosen: dict[str, float]) -> str:
    if not settings:
        return "not recorded"
    if settings.get("original"):
        return "Trained from pixels as a tutorial does it, on the train split alone; its settings are under `original`."
    if settings.get("backbone") == "compact_cnn":
        return "The whole network was trained from scratch by gradient descent."
    if _trains_network(settings, chosen):
        n = settings["fine_tune_layers"]
        return f"A head was fitted to features of the frozen backbone, then the top {n} layers were trained with it."
    frozen = "The backbone is frozen; a head was fitted to its pooled features."
    if settings.get("fine_tune_layers", 0):
        return f"{frozen} Training its top layers too was tried, and was no better on held-out training images."
    return frozen


def _ensemble(settings: dict, chosen: dict[str, float]) -> str:
    if settings.get("head") == "blend" and not _trains_network(settings, chosen):
        one = "One backbone; its head is the mean of a logistic and a ridge regression, folded into one linear layer."
    else:
        one = "One network, no ensemble."
    if views := settings.get("test_time_augmentation"):
        one += f" Logits are averaged over the image and {len(views)} further views of it ({', '.join(views)})."
    return one


def _rule(info: "ClassifierInfo", evaluation: "Evaluation") -> DecisionRule:
    point = info.operating_point
    label = "An image is given its most probable class."
    if point:
        label = (
            f"An image is called “{point.positive_class}” where the probability of that class is at least "
            f"{figure(point.threshold)}; this threshold was chosen on training data for a sensitivity of "
            f"{figure(point.target_sensitivity, 2)}, before the test split was read."
        )
    return DecisionRule(
        label=label,
        operating_point=evaluation.test.operating_point or point,
        abstention=info.abstention,
        familiarity=info.familiarity,
        test=evaluation.decisions,
    )


def _measured(metrics: "Metrics") -> Measured:
    figures = []
    for key, name in FIGURES.items():
        estimate = getattr(metrics, key)
        known = ABOUT.get(key) or about(metrics)
        figures.append(Figure(key=key, name=name, about=known, **estimate.model_dump()))
    return Measured(
        n=metrics.n,
        n_groups=metrics.n_groups,
        interval_unit=metrics.interval_unit,
        confidence=metrics.confidence,
        resamples=metrics.resamples,
        intervals=interval_sentence(metrics),
        n_wrong=metrics.n - sum(row[i] for i, row in enumerate(metrics.confusion)),
        majority_baseline=metrics.majority_baseline,
        figures=figures,
        per_class=metrics.per_class,
        confusion=metrics.confusion,
    )


def _calibration(evaluation: "Evaluation") -> Calibration:
    held_out = "out-of-fold predictions" if evaluation.method == "cross_validation" else "the validation split"
    return Calibration(
        method=f"temperature scaling, fitted on {held_out} of training data (n = {evaluation.validation.n:,})",
        temperature=evaluation.temperature,
        before=evaluation.test.ece_uncalibrated,
        after=evaluation.test.ece,
        finding=_finding(evaluation.test),
        reliability=evaluation.test.reliability,
    )


def _finding(test: "Metrics") -> str:
    """Whether scaling helped on the test split, and whether the classifier is too sure of itself there."""
    filled = [(b.n, b.confidence, b.accuracy) for b in test.reliability if b.confidence is not None]
    sure = sum(n * confidence for n, confidence, _ in filled) / test.n
    right = sum(n * (accuracy or 0) for n, _, accuracy in filled) / test.n
    side = "more" if right > sure else "less"
    verdict = f"right {side} often than it says"
    if _may_be_chance(test, sure - right):
        verdict = f"no difference beyond what chance does to {counted(test.n, 'image')}"
    means = f"ean probability of the answer {figure(sure)}, share that is right {figure(right)}: {verdict}."
    before, after = test.ece_uncalibrated.value, test.ece.value
    if before is not None and after is not None and after > before:
        return f"On the test split the scaling made calibration worse. M{means}"
    return f"On the test split: m{means}"


def _may_be_chance(test: "Metrics", gap: float) -> bool:
    """Whether the interval of the accuracy is wide enough for what probabilities claim above what is right."""
    value, low, high = test.accuracy.value, test.accuracy.low, test.accuracy.high
    if value is None or low is None or high is None:
        return False
    return low <= value + gap <= high


def _contender(result: "CandidateResult", evaluation: "Evaluation") -> Contender:
    shared = ("name", "backbone", "description", "n", "scores", "plain_scores", "chosen")
    costs = ("gigamacs", "milliseconds", "megabytes", "seconds")
    return Contender(
        won=result.name == evaluation.winner.name,
        score=result.scores[evaluation.metric],
        plain_score=(result.plain_scores or {}).get(evaluation.metric),
        **{key: getattr(result, key) for key in (*shared, *costs)},
    )


def _explanation(info: "ClassifierInfo") -> Explanation:
    shown = info.activation_map
    if shown is None:
        text = "No map: this head is not linear, so no place of an image can be said to speak for a class."
        return Explanation(available=False, grid=None, exact=None, text=text, caution=CAUTION)
    whole = (
        "The mean over all places, plus a constant, is the class's logit, unless a feature was so far off as to be cut."
    )
    if not shown.exact:
        whole = "Other poolings of the same features add to the answer, so the map shows a part of it."
    text = (
        f"Class activation map of {shown.grid[0]} by {shown.grid[1]} places from the same pass through the network: "
        f"how much each place speaks for each class. {whole}"
    )
    return Explanation(available=True, grid=shown.grid, exact=shown.exact, text=text, caution=CAUTION)
