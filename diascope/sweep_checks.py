"""Is a sweep right? Asked before anything runs, with the key, the value and what to do."""

import itertools
import math
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from diascope.config import CandidateConfig
from diascope.errors import nearest
from diascope.problems import KeyPath, Problem, check_schema
from diascope.sweep_config import BEST, Range, SweepConfig
from diascope.sweep_space import (
    Axis,
    Settings,
    axes,
    described,
    flat_keys,
    grid_size,
    swept_name,
    with_settings,
    without_effect,
)

SWEEP: KeyPath = ("parameters", "sweep")
MOST = 2_000  # combinations that are looked at before the run; others are when their trial comes


def check_sweep(config: SweepConfig, candidates: Sequence[CandidateConfig]) -> list[Problem]:
    """Everything that is wrong with a sweep over one of these candidates."""
    problems = [*_check_budget(config), *_check_names(config, candidates)]
    for name, said in config.over.items():
        problems += _check_axis((*SWEEP, "over", name), name, said)
    if problems:
        return problems
    problems = list(_check_grid(config)) if config.method == "grid" else []
    for each in bases(config, candidates):  # of what several refuse, one is enough to know
        problems = problems or _check_values(config, each)
    return problems or list(_check_effect(config, bases(config, candidates)))


def bases(config: SweepConfig, candidates: Sequence[CandidateConfig]) -> list[CandidateConfig]:
    """The candidates whose settings may be swept: the named one, or any that may win."""
    return [each for each in candidates if config.candidate in (BEST, each.name)]


def _check_budget(config: SweepConfig) -> Iterator[Problem]:
    if config.method != "grid" and config.trials is None and config.minutes is None:
        yield Problem(SWEEP, f"needs a budget: say trials or minutes, or both ({config.method} never ends by itself)")


def _check_names(config: SweepConfig, candidates: Sequence[CandidateConfig]) -> Iterator[Problem]:
    names = [each.name for each in candidates]
    if config.candidate not in (BEST, *names):
        near = nearest(config.candidate, [BEST, *names])
        text = f"there is no candidate {config.candidate!r}; the nearest is {near!r}"
        yield Problem((*SWEEP, "candidate"), text)
    for each in bases(config, candidates):
        if swept_name(each.name) in names:
            text = f"what it finds would be called {swept_name(each.name)!r}, as a candidate is: give that another name"
            yield Problem(SWEEP, text)


def _check_axis(path: KeyPath, name: str, said: Any) -> Iterator[Problem]:
    """What can be told without a candidate: the key, and the form of its values."""
    keys = flat_keys()
    several = isinstance(said, list) and bool(said) and all(isinstance(each, dict) and each for each in said)
    if name not in keys:
        if several and any(key in keys for each in said for key in each):
            for place, each in enumerate(said):
                yield from (Problem((*path, place, key), _unknown(key)) for key in each if key not in keys)
        else:
            yield Problem(path, _unknown(name))
    elif isinstance(said, dict):
        yield from _check_range(path, name, said)
    elif not isinstance(said, list):
        yield Problem(path, "should be a list of values, or a mapping with low and high")
    if isinstance(said, list):
        yield from _check_list(path, said)


def _unknown(key: str) -> str:
    near = get_close_matches(key, flat_keys(), n=1, cutoff=0.0)[0]
    return f"there is no key {key!r} of a candidate; the nearest is {near!r}"


def _check_list(path: KeyPath, values: list[Any]) -> Iterator[Problem]:
    if not values:
        yield Problem(path, "should not be empty")
    for place, value in enumerate(values):
        if any(value == other and type(value) is type(other) for other in values[:place]):
            yield Problem((*path, place), f"the value {value!r} stands there twice")


def _check_range(path: KeyPath, key: str, said: dict[str, Any]) -> Iterator[Problem]:
    if found := check_schema(Range, said):
        yield from (Problem((*path, *each.path), each.text) for each in found)
        return
    ends = Range.model_validate(said)
    if ends.low >= ends.high:
        yield Problem(path, f"low ({ends.low:g}) should be below high ({ends.high:g})")
    elif ends.log and ends.low <= 0:
        yield Problem((*path, "low"), f"should be greater than 0 where log is true, not {ends.low:g}")
    elif ends.log and ends.step:
        yield Problem(path, "log and step do not go together: give a list of values")
    elif ends.step and ends.step > ends.high - ends.low:
        yield Problem((*path, "step"), f"should fit between low and high, not be {ends.step:g}")
    elif Axis.of(key, said).whole and any(number % 1 for number in (ends.low, ends.high, ends.step or 0)):
        yield Problem(path, f"{key} takes whole numbers alone")


def _check_grid(config: SweepConfig) -> Iterator[Problem]:
    for axis in axes(config):
        if not axis.points():
            yield Problem((*SWEEP, "over", axis.name), "a grid needs values: give a list, or a step without log")
    size = grid_size(config)
    if size is not None and config.trials is not None and size > config.trials:
        parts = " x ".join(str(len(axis.points())) for axis in axes(config))
        yield Problem(
            (*SWEEP, "trials"),
            f"the grid has {size:,} points ({parts}) and the budget is {config.trials:,} trials: leave values out, "
            "raise trials, or say method: random",
        )


def _check_values(config: SweepConfig, base: CandidateConfig) -> list[Problem]:
    """Values that the candidate refuses, alone or together, and keys that nothing comes of."""
    found = axes(config)
    problems = [
        Problem((*SWEEP, "over", axis.name, place), f"{text} (candidate {base.name!r})")
        for axis in found
        for place, value in _ends(axis)
        if (text := _refusal(base, {axis.name: value})) and not _saved_by_others(base, axis, value, found)
    ]
    for settings in _combinations(found) if not problems else ():
        if text := _refusal(base, settings):
            together = " and ".join(f"{name} {value!r}" for name, value in settings.items())
            return [Problem((*SWEEP, "over"), f"{together} do not go together: {text} (candidate {base.name!r})")]
    return problems


def _check_effect(config: SweepConfig, candidates: Sequence[CandidateConfig]) -> Iterator[Problem]:
    """Keys that none of the candidates reads, whatever the others are."""
    found = axes(config)
    swept = [with_settings(base, settings) for base in candidates for settings in _combinations(found)]
    unread = set.intersection(*(without_effect(each) for each in swept))
    for axis in found:
        if axis.name.partition(".")[0] in unread:
            text = f"has no effect on {candidates[0].name!r}, {_fitted(candidates[0])}: leave it out"
            yield Problem((*SWEEP, "over", axis.name), text)


def _ends(axis: Axis) -> list[tuple[int | str, Any]]:
    """The values of a list by their places, the ends of a range by their keys."""
    if axis.choices:
        return list(enumerate(axis.choices))
    return [("low", axis.number(axis.low)), ("high", axis.number(axis.high))]


def _saved_by_others(base: CandidateConfig, axis: Axis, value: Any, others: Sequence[Axis]) -> bool:
    """Whether a value that the candidate refuses as it is goes with any value of another axis."""
    return any(
        not _refusal(base, {axis.name: value, other.name: theirs})
        for other in others
        if other is not axis
        for _, theirs in _ends(other)
    )


def _combinations(found: Sequence[Axis]) -> Iterator[Settings]:
    """Every combination of values and ends; where there are too many, those in which two axes at most are not first."""
    values = [[value for _, value in _ends(axis)] for axis in found]
    names = [axis.name for axis in found]
    if math.prod(map(len, values)) <= MOST:
        yield from (dict(zip(names, each, strict=True)) for each in itertools.product(*values))
        return
    first = dict(zip(names, (each[0] for each in values), strict=True))
    pairs = itertools.combinations(range(len(names)), 2)
    every = ({names[i]: a, names[j]: b} for i, j in pairs for a, b in itertools.product(values[i], values[j]))
    yield from (first | each for each in itertools.islice(every, MOST))


def _refusal(base: CandidateConfig, settings: Settings) -> str:
    """What the configuration says of the candidate with these settings; empty where they are right."""
    try:
        with_settings(base, settings)
    except ValidationError:
        return check_schema(CandidateConfig, described(base, settings))[0].text
    return ""


def _fitted(base: CandidateConfig) -> str:
    return "which trains the network" if base.trains_network else f"whose head is {base.head}"
