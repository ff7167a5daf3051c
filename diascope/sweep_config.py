"""What may a sweep say?"""

from typing import Any, Literal

from pydantic import Field

from diascope.schema import Section

BEST = "best"  # in place of a candidate's name: the one that wins the comparison


class SweepConfig(Section):
    """Settings of one candidate that are tried by machine, after the candidates were compared."""

    method: Literal["grid", "random", "tpe"] = "tpe"  # tpe: Optuna's tree-structured Parzen estimator
    trials: int | None = Field(default=None, ge=1)  # at most; null: until the minutes are over, or all of a grid
    minutes: float | None = Field(default=None, gt=0)  # no trial begins later
    over: dict[str, Any] = Field(min_length=1)  # key of a candidate -> list of values, or {low, high, log, step}
    candidate: str = BEST  # whose settings: a candidate's name, or the one that wins the comparison


class Range(Section):
    """Numbers between two ends, both of them included."""

    low: float
    high: float
    log: bool = False  # factors count, not differences: 0.001 to 0.01 is as long as 0.01 to 0.1
    step: float | None = Field(default=None, gt=0)  # between two numbers; whole-number keys have 1
