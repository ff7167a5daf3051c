"""Which settings may a sweep try, and what is a candidate with them?"""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from diascope.config import CandidateConfig
from diascope.schema import Section
from diascope.sweep_config import Range, SweepConfig

if TYPE_CHECKING:
    import numpy as np

SUFFIX = "_swept"
LONGEST = 40  # characters of a candidate's name
Settings = dict[str, Any]  # what a trial gives each axis

NOT_SWEPT = {"name", "search"}  # a search has a budget of its own
OF_DESCENT = {"optimizer", "learning_rate", "schedule", "warmup_epochs", "batch_size", "early_stopping"}
OF_NETWORKS = {"augmentation", "head_epochs", "head_learning_rate", "layer_decay", "mixed_precision"}


@dataclass(frozen=True)
class Axis:
    """One thing that differs between trials: a key of the candidate, or several keys that change together."""

    name: str  # dotted key; of keys that change together, what the sweep calls them
    choices: tuple[Any, ...] = ()  # empty: a range
    low: float = 0
    high: float = 0
    log: bool = False
    step: float | None = None
    whole: bool = False

    @classmethod
    def of(cls, name: str, said: Any) -> "Axis":
        """Read a list of values, or a mapping with `low` and `high`; the checks have seen it before."""
        if isinstance(said, list):
            return cls(name, tuple(said))
        ends = Range.model_validate(said)
        whole = is_whole(name)
        step = ends.step if ends.step or not whole or ends.log else 1
        return cls(name, (), ends.low, ends.high, ends.log, step, whole)

    @property
    def together(self) -> bool:
        """Whether its values are keys that change together."""
        return bool(self.choices) and self.name not in flat_keys()

    def points(self) -> list[Any]:
        """Every value, the only ones of a grid; empty where there is no end of them."""
        if self.choices:
            return list(self.choices)
        return [self.number(self.low + i * self.step) for i in range(self._steps)] if self.step else []

    def draw(self, random: "np.random.Generator") -> Any:
        """One value at random; all are as likely, of a logarithmic range all factors."""
        if points := self.points():
            return points[int(random.integers(len(points)))]
        if not self.log:
            return self.number(random.uniform(self.low, self.high))
        half = 0.5 if self.whole else 0.0  # so that the ends are as likely as what lies between
        drawn = math.exp(random.uniform(math.log(self.low - half), math.log(self.high + half)))
        return self.number(min(max(drawn, self.low), self.high))

    def place(self, value: Any) -> int:
        """Where a value stands in the list."""
        return next(i for i, each in enumerate(self.choices) if each == value and type(each) is type(value))

    def number(self, value: float) -> float:
        """The value as the key wants it."""
        within = min(max(float(f"{value:.12g}"), self.low), self.high)  # 0.1 + 2 * 0.1 is 0.3 to a person
        return round(within) if self.whole else within

    @property
    def _steps(self) -> int:
        assert self.step
        return 1 + math.floor((self.high - self.low) / self.step + 1e-9)


def axes(config: SweepConfig) -> list[Axis]:
    """What differs between trials, in the order of the configuration."""
    return [Axis.of(name, said) for name, said in config.over.items()]


def grid(config: SweepConfig) -> list[Settings]:
    """Every combination, the last key changing fastest."""
    found = axes(config)
    return [
        dict(zip((axis.name for axis in found), values, strict=True))
        for values in itertools.product(*(axis.points() for axis in found))
    ]


def grid_size(config: SweepConfig) -> int | None:
    """How many combinations there are; None where a range has no step."""
    sizes = [len(axis.points()) for axis in axes(config)]
    return math.prod(sizes) if all(sizes) else None


def with_settings(base: CandidateConfig, settings: Mapping[str, Any], name: str | None = None) -> CandidateConfig:
    """The candidate with other settings; raises pydantic's ValidationError where they do not go together."""
    return CandidateConfig.model_validate(described(base, settings, name), strict=True)


def described(base: CandidateConfig, settings: Mapping[str, Any], name: str | None = None) -> dict[str, Any]:
    """What a configuration would say of the candidate with other settings, right or wrong."""
    document = base.model_dump(mode="json") | {"name": name or swept_name(base.name)}
    document |= dict.fromkeys(NOT_SWEPT & document.keys() - {"name"})  # what a search has found is in the other keys
    keys = flat_keys()
    for axis, value in settings.items():
        for key, each in value.items() if axis not in keys else [(axis, value)]:
            _set(document, key.split("."), each)
    return document


def values_of(config: SweepConfig, key: str) -> dict[str, Any]:
    """Every value that a sweep gives a key in a list, by the path of where it is said."""
    found = {}
    for axis in axes(config):
        for place, value in enumerate(axis.choices):
            if axis.name == key:
                found[f"sweep.over.{axis.name}.{place}"] = value
            elif axis.together and key in value:
                found[f"sweep.over.{axis.name}.{place}.{key}"] = value[key]
    return found


def swept_name(name: str) -> str:
    """What the best candidate that a sweep finds is called."""
    return name[: LONGEST - len(SUFFIX)] + SUFFIX


def relevant(candidate: CandidateConfig) -> Settings:
    """The settings that the candidate's fit depends on: two candidates that have the same are the same."""
    said = candidate.model_dump(mode="json", exclude={"name"})
    return {key: value for key, value in said.items() if key not in without_effect(candidate)}


def without_effect(candidate: CandidateConfig) -> set[str]:
    """Keys that the candidate's way of fitting does not read."""
    if candidate.fine_tune_layers:  # the head is that of the frozen features, which are kept where they are better
        return {"hidden_units", "feature_norm", "dropout"}
    if candidate.trains_network:
        return {"head", "hidden_units", "feature_norm", "head_epochs", "head_learning_rate"}
    if candidate.head == "mlp":
        return OF_NETWORKS
    unread = OF_NETWORKS | OF_DESCENT | {"hidden_units", "dropout"}
    return unread | {"epochs"} if candidate.head == "ridge" else unread


def flat_keys() -> dict[str, Any]:
    """Every key of a candidate, those of its sections with a dot, and what may be said there; the name is not one."""
    return dict(_keys(CandidateConfig))


def is_whole(key: str) -> bool:
    """Whether a key takes whole numbers alone."""
    return flat_keys().get(key) is int


def _keys(section: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in section.model_fields.items():
        if not prefix and name in NOT_SWEPT:
            continue
        yield prefix + name, field.annotation
        for kind in (field.annotation, *get_args(field.annotation)):  # also of `Section | None`
            if isinstance(kind, type) and issubclass(kind, Section):
                yield from _keys(kind, f"{prefix}{name}.")


def _set(document: dict[str, Any], path: list[str], value: Any) -> None:
    *sections, key = path
    for section in sections:
        document[section] = dict(document.get(section) or {})
        document = document[section]
    document[key] = value
