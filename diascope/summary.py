"""What came out of a run, for people and for programs?"""

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from diascope.checks import tally
from diascope.config import DEMO
from diascope.metrics import Estimate, Metrics
from diascope.results import CandidateResult, Evaluation

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from diascope.dataset import DatasetInfo
    from diascope.promotion import Decision


@dataclass(frozen=True)
class Outcome:
    """A finished training run, read back from its artifacts."""

    run_name: str
    status: str
    stack: str
    model_name: str
    model_version: str
    model_stage: str | None  # "production" where it was promoted
    evaluation: Evaluation
    decision: "Decision"
    dataset: "DatasetInfo"
    report: str | None  # path of the report
    mlflow_uri: str  # what `mlflow ui --backend-store-uri` takes, or the server's address
    seconds: float  # the whole run
    step_seconds: dict[str, float] = field(default_factory=dict)  # 0 where the step came from the cache
    exploration: str | None = None  # path of the page of what is in the data
    sweep: str | None = None  # path of the page of what was swept


def as_json(outcome: Outcome) -> dict[str, Any]:
    """The run as one JSON object; estimates are `name` and `name_ci95` (the interval's percentage)."""
    evaluation = outcome.evaluation
    candidates = {each.name: _candidate(each) for each in evaluation.candidates}
    result = {
        "pipeline": "training",
        "run_name": outcome.run_name,
        "status": outcome.status,
        "stack": outcome.stack,
        "model": {"name": outcome.model_name, "version": outcome.model_version, "stage": outcome.model_stage},
        "winner": {"name": evaluation.winner.name, "backbone": evaluation.winner.backbone},
        "validation": {
            "metric": evaluation.metric,
            "method": evaluation.method,
            "groups": evaluation.groups,
            "candidates": candidates,
            **_metrics(evaluation.validation),
        },
        "test": _metrics(evaluation.test),
        "data": _data(outcome.dataset),
        "promotion": {"promoted": outcome.decision.promoted, "reason": outcome.decision.reason},
        "report": outcome.report,
        "exploration": outcome.exploration,
        "sweep": outcome.sweep,
        "seconds": {"total": outcome.seconds, "steps": outcome.step_seconds},
    }
    return {name: _defined(value) for name, value in result.items()}


def print_table(outcome: Outcome, console: "Console") -> None:
    """The run as tables and sentences."""
    evaluation, decision = outcome.evaluation, outcome.decision
    console.print(_candidates_table(evaluation))
    console.print(f"{evaluation.selection}\n", highlight=False, markup=False)
    console.print(_test_table(evaluation))
    console.print(_data_sentence(outcome.dataset), highlight=False, markup=False)
    console.print()
    console.print(decision.reason, style="green" if decision.promoted else "yellow", highlight=False, markup=False)
    console.print(_steps_table(outcome))
    console.print(_where_to_look(outcome), highlight=False, markup=False, soft_wrap=True)


def _defined(value: Any) -> Any:
    """The same with null for what is not a number, which JSON does not know."""
    if isinstance(value, dict):
        return {name: _defined(each) for name, each in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _candidate(result: CandidateResult) -> dict[str, Any]:
    return {
        "backbone": result.backbone,
        "scores": result.scores,
        "plain_scores": result.plain_scores,
        "milliseconds": result.milliseconds,
        "gigamacs": result.gigamacs,
        "megabytes": result.megabytes,
        "seconds": result.seconds,
        "trials": result.trials,
        "corrected": result.corrected,
    }


def _metrics(metrics: Metrics) -> dict[str, Any]:
    flat: dict[str, Any] = {"n": metrics.n, "n_groups": metrics.n_groups, "interval_unit": metrics.interval_unit}
    flat |= _estimates(metrics, metrics.confidence)
    flat |= {"majority_baseline": metrics.majority_baseline, "classes": metrics.class_names}
    flat["confusion"] = metrics.confusion
    flat["per_class"] = {each.name: {"n": each.n, **_estimates(each, metrics.confidence)} for each in metrics.per_class}
    point = metrics.operating_point
    if point:
        flat["operating_point"] = {
            "positive_class": point.positive_class,
            "threshold": point.threshold,
            "target_sensitivity": point.target_sensitivity,
        }
    return flat


def _estimates(model: Any, confidence: float) -> dict[str, Any]:
    """Every estimate of a pydantic model as a value and an interval."""
    flat: dict[str, Any] = {}
    for name in type(model).model_fields:
        if isinstance(estimate := getattr(model, name), Estimate):
            flat[name] = estimate.value
            flat[f"{name}_ci{100 * confidence:g}"] = None if estimate.low is None else [estimate.low, estimate.high]
    return flat


def _data(dataset: "DatasetInfo") -> dict[str, Any]:
    used = {split: sum(classes.values()) for split, classes in dataset.counts.items()}
    n = sum(used.values())
    return {
        "n": n,
        "n_found": dataset.n_found,
        **tally(dataset.findings),
        "dropped": dataset.n_found - n,
        "splits": used,
        "classes": dataset.class_names,
        "grouping": dataset.grouping,
        "layout": dataset.layout,
        "fingerprint": dataset.fingerprint,
    }


def _interval(estimate: Estimate) -> str:
    value = "-" if estimate.value is None else f"{estimate.value:.3f}"
    return value if estimate.low is None else f"{value} ({estimate.low:.3f} to {estimate.high:.3f})"


def _cell(estimate: Estimate) -> str:
    """Two lines, so that the table fits a terminal of 80 columns."""
    value = "-" if estimate.value is None else f"{estimate.value:.3f}"
    return value if estimate.low is None else f"{value}\n[dim]{_short(estimate.low)}-{_short(estimate.high)}[/dim]"


def _in_lines(name: str, width: int = 18) -> str:
    """Break a long name after its dots and dashes rather than anywhere."""
    lines = [""]
    for part in re.split(r"(?<=[._/ -])", name):
        if lines[-1] and len(lines[-1] + part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines)


def _short(figure: float | None) -> str:
    return f"{figure:.3f}".removeprefix("0")


def _candidates_table(evaluation: Evaluation) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    kept = {"patient": "by patient", "similarity": "similar images together", "image": "image by image"}
    how = "cross-validation" if evaluation.method == "cross_validation" else "validation split"
    table = Table(
        title=f"Candidates, {how}, {kept.get(evaluation.groups, evaluation.groups)}",
        title_justify="left",
        box=SIMPLE_HEAD,
    )
    table.add_column("candidate", overflow="fold")
    for name in (evaluation.metric.replace("_", " "), "plain folds", "ms/image", "MB", "fit s"):
        table.add_column(name, justify="right", min_width=max(map(len, name.split())))
    for each in evaluation.candidates:
        won = each.name == evaluation.winner.name
        plain = f"[dim]{each.plain_scores[evaluation.metric]:.3f}[/dim]" if each.plain_scores else "-"
        table.add_row(
            each.name + (" *" if won else "") + f"\n[dim]{_made_of(each)}[/dim]",  # below, so that long names fit
            f"{each.scores[evaluation.metric]:.3f}",
            plain,
            *(f"{figure:.1f}" for figure in (each.milliseconds, each.megabytes, each.seconds)),
            style="bold" if won else None,
        )
    return table


def _made_of(result: CandidateResult) -> str:
    """Its network, and how many settings or sets of features were tried to find it."""
    if not result.trials:
        return result.backbone
    corrected = "" if result.corrected is None else f", {result.corrected:.3f} without what that choice adds"
    what = "feature sets" if result.search else "settings"
    return f"{result.backbone}, best of {result.trials} {what}{corrected}"


def _test_table(evaluation: Evaluation) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    test = evaluation.test
    units = f"{test.interval_unit}s" if test.n_groups is None else f"{test.n_groups} {test.interval_unit}s"
    title = f"Test split: {test.n} images, {100 * test.confidence:g} % intervals over {units}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("", overflow="fold")
    for name in ("AUROC", "sensitivity", "specificity", "precision", "F1"):
        table.add_column(name, no_wrap=True)
    overall = (test.auroc, test.sensitivity, test.specificity, test.precision, test.f1)
    point = test.operating_point  # with two classes, the figures are those of the class that is looked for
    sizes = {each.name: each.n for each in test.per_class}
    whose = f"{point.positive_class} ({sizes[point.positive_class]})" if point else "all classes"
    table.add_row(escape(_in_lines(whose)), *map(_cell, overall), style="bold")
    for each in test.per_class if len(test.per_class) > 2 else []:
        row = (each.auroc, each.sensitivity, each.specificity, each.precision, each.f1)
        table.add_row(escape(_in_lines(f"{each.name} ({each.n})")), *map(_cell, row))
    table.caption = (
        f"accuracy {_interval(test.accuracy)} (always the commonest class: {test.majority_baseline:.3f})\n"
        f"balanced accuracy {_interval(test.balanced_accuracy)}\ncalibration error {_interval(test.ece)}"
    )
    table.caption_justify = "left"
    return table


def _data_sentence(dataset: "DatasetInfo") -> str:
    data = _data(dataset)
    found = {name.replace("_", " "): n for name, n in tally(dataset.findings).items() if n and name != "dropped"}
    why = f" (found: {', '.join(f'{name} {n}' for name, n in found.items())})" if found else ""
    drawn = " The images are synthetic." if dataset.source == DEMO else ""
    return f"Data: {data['n']} of {data['n_found']} images used, {data['dropped']} dropped{why}.{drawn}"


def _steps_table(outcome: Outcome) -> "Table":
    from rich.table import Table

    table = Table(
        title=f"\n{outcome.seconds:.1f} seconds", title_justify="left", box=None, show_header=False, min_width=40
    )
    for name, seconds in outcome.step_seconds.items():
        table.add_row(name, f"{seconds:.1f}" if seconds else "cached")
    return table


def _where_to_look(outcome: Outcome) -> str:
    stage = f", stage {outcome.model_stage}" if outcome.model_stage else ""
    tracking = outcome.mlflow_uri
    mlflow = tracking if tracking.startswith("http") else f"mlflow ui --backend-store-uri {tracking}"
    return (
        f"\nRun        {outcome.run_name} ({outcome.status}) on stack {outcome.stack}\n"
        f"Model      {outcome.model_name} version {outcome.model_version}{stage}\n"
        f"Dashboard  zenml login --local\n"
        f"MLflow     {mlflow}\n"
        f"Report     {outcome.report or 'none'}\n"
        f"Data       {outcome.exploration or 'none'}"
    ) + (f"\nSweep      {outcome.sweep}" if outcome.sweep else "")
