"""What was tried in a sweep, what came of it, and what mattered?"""

from typing import Any

from diascope.comparison import HIGHER_IS_BETTER
from diascope.reports import sweep_plots as plots
from diascope.reports.figures import brief, counted, figure, score_name
from diascope.reports.page import render
from diascope.reports.svg import Point
from diascope.reports.sweep_plots import Scale, label
from diascope.sweep_results import Sweep, Trial
from diascope.sweep_space import Axis, axes

METHODS = {
    "grid": "every combination of the values that were given, in random order",
    "random": "drawn at random",
    "tpe": "suggested by Optuna's tree-structured Parzen estimator",
}
ENDS = {
    "trials": "The trials that were allowed are used up.",
    "minutes": "The minutes that were allowed are used up.",
    "everything": "There is nothing left to try.",
}
MOST_LINES = 1_000  # trials that are drawn; of more, the latest
MOST_ROWS = 300


def sweep_page(sweep: Sweep) -> str:
    """The page of a sweep as one HTML file: parallel coordinates, importances, course, and the trials."""
    name = score_name(sweep.metric)
    ranked = sorted(sweep.complete, key=lambda trial: _badness(sweep, trial))
    return render(
        "sweep_page.html",
        sweep=sweep,
        metric=name,
        score=figure(sweep.winner.scores[sweep.metric]),
        base_score=figure(sweep.base_score),
        corrected=None if sweep.corrected is None else figure(sweep.corrected),
        method=METHODS[sweep.config.method],
        ended=ENDS[sweep.ended],
        tried=counted(len(sweep.trials), "setting"),
        parallel=_parallel(sweep),
        importance=plots.importance_bars(list(sweep.importances.items())) if sweep.importances else None,
        course=_course(sweep, name),
        slices=_slices(sweep, name),
        keys=[axis.name for axis in axes(sweep.config)],
        rows=[_row(sweep, trial) for trial in ranked[:MOST_ROWS]],
        left_out=max(0, len(ranked) - MOST_ROWS),
        failures=[(trial.number, _words(trial), trial.failure) for trial in sweep.trials if trial.failed],
        spaces=[(axis.name, _space(axis)) for axis in axes(sweep.config)],
    )


def _badness(sweep: Sweep, trial: Trial) -> float:
    return -_sign(sweep) * trial.scores[sweep.metric]


def _sign(sweep: Sweep) -> int:
    return 1 if HIGHER_IS_BETTER[sweep.metric] else -1


def _parallel(sweep: Sweep) -> Any:
    """Settings, cost where it differs, and score as upright axes."""
    shown = sweep.complete[-MOST_LINES:]
    if all(trial.number != sweep.best for trial in shown):
        shown = [sweep.winner, *shown]
    columns = [(axis.name, Scale(axis)) for axis in axes(sweep.config)]
    places = [[scale(trial.settings[name]) for name, scale in columns] for trial in shown]
    figures = [("ms per image", [trial.milliseconds for trial in shown])]
    figures = [each for each in figures if len({f"{value:.3g}" for value in each[1]}) > 1]
    figures.append((score_name(sweep.metric), [trial.scores[sweep.metric] for trial in shown]))
    for name, values in figures:
        low, high = _shown(sweep) if values is figures[-1][1] else (min(values), max(values))
        scale = Scale(Axis(name, (), low, high if high > low else low + 1))
        columns.append((name, scale))
        for line, value in zip(places, values, strict=True):
            line.append(scale(value))
    order = sorted(range(len(shown)), key=lambda i: -_badness(sweep, shown[i]))
    rank = {i: place / max(len(order) - 1, 1) for place, i in enumerate(order)}
    taken = next(i for i, trial in enumerate(shown) if trial.number == sweep.best)
    return plots.parallel_coordinates(columns, [(line, rank[i]) for i, line in enumerate(places)], taken)


def _shown(sweep: Sweep) -> Point:
    return plots.shown_scores([trial.scores[sweep.metric] for trial in sweep.complete], _sign(sweep) > 0)


def _course(sweep: Sweep, name: str) -> Any:
    scores = [(float(trial.number + 1), trial.scores[sweep.metric]) for trial in sweep.complete]
    better = max if _sign(sweep) > 0 else min
    best = [(x, better(y for _, y in scores[: i + 1])) for i, (x, _) in enumerate(scores)]
    return plots.course(scores, best, _shown(sweep), name)


def _slices(sweep: Sweep, name: str) -> list[Any]:
    """The score over each setting, the most important first."""
    found = {axis.name: Scale(axis) for axis in axes(sweep.config)}
    order = [*sweep.importances, *(each for each in found if each not in sweep.importances)]
    points = {
        each: [(found[each](trial.settings[each]), trial.scores[sweep.metric]) for trial in sweep.complete]
        for each in order
    }
    return [plots.slice_plot(each, found[each], points[each], _shown(sweep), name) for each in order]


def _row(sweep: Sweep, trial: Trial) -> dict[str, Any]:
    return {
        "number": trial.number + 1,
        "taken": trial.number == sweep.best,
        "score": trial.scores[sweep.metric],
        "accuracy": trial.scores.get("accuracy"),
        "milliseconds": trial.milliseconds,
        "seconds": trial.seconds,
        "settings": [label(trial.settings[axis.name]) for axis in axes(sweep.config)],
    }


def _words(trial: Trial) -> str:
    return ", ".join(f"{name} {label(value)}" for name, value in trial.settings.items())


def _space(axis: Axis) -> str:
    if axis.choices:
        return "; ".join(map(label, axis.choices))
    how = " by factors" if axis.log else f" in steps of {axis.step:g}" if axis.step else ""
    return f"{brief(axis.low)} to {brief(axis.high)}{how}"
