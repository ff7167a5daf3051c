"""Which settings does a sweep try next?

What comes next depends on the seed, the number of the trial and the trials before it alone. So a sweep that was
interrupted tries the same settings as one that was not.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from diascope.sweep_config import SweepConfig
from diascope.sweep_space import Axis, Settings, axes, grid

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import Trial

STARTUP = 10  # trials at random before the Parzen estimator has anything to go by; Optuna's default


class Sampler(ABC):
    """Suggests settings, and is told what came of them."""

    @abstractmethod
    def suggest(self, number: int, attempt: int) -> Settings | None:
        """Settings of a trial; `attempt` counts those that had been tried before. None where there is nothing left."""

    def tell(self, settings: Settings, score: float | None) -> None:  # noqa: B027 (only some of them listen)
        """Take note of a score, where lower is better; None where the trial failed."""


class GridSampler(Sampler):
    """Every combination once, in random order: if the time is over before the end, no corner was left out."""

    def __init__(self, config: SweepConfig, seed: int) -> None:
        every = grid(config)
        self._points = [every[i] for i in np.random.default_rng(seed).permutation(len(every))]
        self._next = 0

    def suggest(self, number: int, attempt: int) -> Settings | None:
        self._next += 1
        return self._points[self._next - 1] if self._next <= len(self._points) else None


class RandomSampler(Sampler):
    """Each setting drawn by itself (Bergstra and Bengio, JMLR 2012)."""

    def __init__(self, config: SweepConfig, seed: int) -> None:
        self._axes, self._seed = axes(config), seed

    def suggest(self, number: int, attempt: int) -> Settings | None:
        random = np.random.default_rng([self._seed, number, attempt])
        return {axis.name: axis.draw(random) for axis in self._axes}


class ParzenSampler(Sampler):
    """Optuna's tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011; Watanabe 2023)."""

    def __init__(self, config: SweepConfig, seed: int) -> None:
        self._axes, self._seed = axes(config), seed
        self._distributions = {axis.name: distribution(axis) for axis in self._axes}
        self._study = new_study()

    def suggest(self, number: int, attempt: int) -> Settings | None:
        trial = self._asked(number, attempt)
        self._study.tell(trial, state=_state("FAIL"))  # it is told again as what it becomes
        return settings_of(self._axes, trial.params)

    def tell(self, settings: Settings, score: float | None) -> None:
        import optuna

        self._study.add_trial(
            optuna.trial.create_trial(
                params=params_of(self._axes, settings),
                distributions=self._distributions,
                value=score,
                state=_state("FAIL" if score is None else "COMPLETE"),
            )
        )

    def _asked(self, number: int, attempt: int) -> "Trial":
        import optuna

        # Seeded anew for each trial: a sampler's own state would be lost with the process.
        seed = int(np.random.default_rng([self._seed, number, attempt]).integers(2**31))
        self._study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP)
        return self._study.ask(self._distributions)


def make_sampler(config: SweepConfig, seed: int) -> Sampler:
    """The sampler that the configuration names."""
    if config.method == "grid":
        return GridSampler(config, seed)
    return RandomSampler(config, seed) if config.method == "random" else ParzenSampler(config, seed)


def new_study() -> "Study":
    """An empty study, whose trials nobody hears of: the lines would stand between those of the run."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(direction="minimize")


def distribution(axis: Axis) -> "BaseDistribution":
    """The axis as Optuna knows it; of a list, the place."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if axis.choices:
        return CategoricalDistribution(tuple(range(len(axis.choices))))
    if axis.whole:
        step = int(axis.step or 1)
        return IntDistribution(int(axis.low), int(axis.points()[-1] if axis.step else axis.high), axis.log, step)
    high = axis.points()[-1] if axis.step else axis.high
    return FloatDistribution(axis.low, high, axis.log, axis.step)


def params_of(found: Sequence[Axis], settings: Settings) -> dict[str, Any]:
    """Settings as Optuna knows them."""
    return {axis.name: axis.place(settings[axis.name]) if axis.choices else settings[axis.name] for axis in found}


def settings_of(found: Sequence[Axis], params: dict[str, Any]) -> Settings:
    """Settings as the configuration says them."""
    return {
        axis.name: axis.choices[params[axis.name]] if axis.choices else axis.number(params[axis.name]) for axis in found
    }


def _state(name: str) -> Any:
    from optuna.trial import TrialState

    return TrialState[name]
