"""What is tried in a sweep, until its budget is used up?

Every trial is measured as candidates are: on the same folds, which keep groups whole, by the same score. Trials share
what they have in common: networks, features, and the decomposition of the features of each fold.
"""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import ValidationError

from diascope.candidates import fit_of
from diascope.comparison import HIGHER_IS_BETTER, Comparison
from diascope.config import CandidateConfig, SelectionConfig
from diascope.development import Development, Fold
from diascope.errors import InputError
from diascope.features import Backbone, FeatureSpec
from diascope.fit import Fit
from diascope.progress import Progress
from diascope.reductions import Reductions
from diascope.selection import best_for_its_cost
from diascope.sweep_config import SweepConfig
from diascope.sweep_features import Seen, SeenFeatures
from diascope.sweep_journal import Journal
from diascope.sweep_results import Trial
from diascope.sweep_samplers import GridSampler, RandomSampler, Sampler, make_sampler
from diascope.sweep_space import Settings, grid_size, relevant, with_settings

if TYPE_CHECKING:
    from diascope.dataset import Dataset

ATTEMPTS = 20  # suggestions of a sampler that were tried before, until others are looked for
MOST_POINTS = 10_000  # of a space that is searched for what has not been tried
DRAWS = 500  # at random, of a space without end, until it counts as tried out
Ended = Literal["trials", "minutes", "everything"]


@dataclass(frozen=True)
class Ground:
    """What all trials have in common."""

    base: CandidateConfig
    dataset: "Dataset"
    development: Development
    selection: SelectionConfig
    seed: int
    seen: SeenFeatures
    reductions: Reductions = field(default_factory=Reductions)

    def compare(
        self, candidate: CandidateConfig, progress: Progress | None = None
    ) -> tuple[Comparison, Backbone, float]:
        """Return how good a candidate is on held-out images, its network, and the seconds it waited for features."""
        start = time.perf_counter()
        seen = self.seen.of(FeatureSpec.of(candidate), not candidate.trains_network, progress)
        waited = time.perf_counter() - start
        with self.fit(candidate, seen) as fit:
            return fit.compare(self.folds), seen.backbone, waited

    @cached_property
    def folds(self) -> list[Fold]:
        """The fits of every trial, those of the comparison of candidates."""
        return self.development.folds(self.selection, self.seed)

    def fit(self, candidate: CandidateConfig, seen: Seen) -> AbstractContextManager[Fit]:
        """Give the fit of a candidate to what it sees."""
        shared = self.development, self.seed, seen.views, self.selection.metric, self.reductions
        return fit_of(candidate, seen.backbone, self.dataset, seen.inputs, *shared)


def run_trials(
    config: SweepConfig,
    ground: Ground,
    journal: Journal,
    progress: Progress | None = None,
    on_trial: Callable[[Trial, CandidateConfig], None] | None = None,
) -> tuple[list[Trial], int, Ended]:
    """Try settings until the budget is used up, and keep each trial in the journal.

    Returns the trials, how many of them the journal had already, and what was used up. `on_trial` is told of each, in
    order. Raises InputError where every trial failed, with what the first one says.
    """
    sampler = make_sampler(config, ground.seed)
    sign = -1 if HIGHER_IS_BETTER[ground.selection.metric] else 1
    tried: set[str] = set()
    trials: list[Trial] = []
    resumed, ended = 0, _used_up(config, trials)
    while not ended:
        settings = _next(sampler, config, ground, len(trials), tried)
        if settings is None:
            ended = "everything"
            break
        candidate = with_settings(ground.base, settings)
        known = journal.trials.get(len(trials))
        if known is not None and known.settings == settings:
            resumed += 1
            trials.append(known)
        else:
            trials.append(_try(len(trials), settings, candidate, ground, journal, progress))
        trial = trials[-1]
        sampler.tell(settings, None if trial.failed else sign * trial.scores[ground.selection.metric])
        if on_trial:
            on_trial(trial, candidate)
        if progress:
            progress("trials", len(trials), config.trials or grid_size(config))
        ended = _used_up(config, trials)
    if trials and all(trial.failed for trial in trials):
        raise InputError(f"None of {len(trials)} trials of the sweep could be fitted: {trials[0].failure}")
    return trials, resumed, ended


def best_of(trials: Sequence[Trial], selection: SelectionConfig) -> tuple[Trial, int]:
    """Return the trial that is taken, and how many are tied: within the tolerance of the best score."""
    sign = 1 if HIGHER_IS_BETTER[selection.metric] else -1
    complete = [trial for trial in trials if not trial.failed]
    scores = np.array([sign * trial.scores[selection.metric] for trial in complete])
    gigamacs = np.array([trial.gigamacs for trial in complete])
    tied = int((scores.max() - scores <= selection.tolerance).sum())
    return complete[best_for_its_cost(scores, gigamacs, selection.tolerance)], tied


def _used_up(config: SweepConfig, trials: Sequence[Trial]) -> Ended | None:
    if config.trials is not None and len(trials) >= config.trials:
        return "trials"
    if config.minutes is not None and sum(t.seconds + t.waited for t in trials) >= 60 * config.minutes:
        return "minutes"
    return None


def _next(sampler: Sampler, config: SweepConfig, ground: Ground, number: int, tried: set[str]) -> Settings | None:
    """Settings that make another candidate than any before; None where there are none left.

    Settings that do not go together are passed over, and so are those that differ in what the fit does not read alone.
    """
    for source, attempts in _sources(sampler, config, ground.seed):
        for attempt in range(attempts):
            settings = source.suggest(number, attempt)
            if settings is None:
                break
            key = _key(ground.base, settings)
            if key and key not in tried:
                tried.add(key)
                return settings
    return None


def _sources(sampler: Sampler, config: SweepConfig, seed: int) -> list[tuple[Sampler, int]]:
    """The sampler, and where to look when it only finds what was tried before."""
    size = grid_size(config)
    if isinstance(sampler, GridSampler):
        return [(sampler, size or 0)]
    if size is not None and size <= MOST_POINTS:
        return [(sampler, ATTEMPTS), (GridSampler(config, seed), size)]
    return [(sampler, ATTEMPTS), (RandomSampler(config, seed + 1), DRAWS)]


def _key(base: CandidateConfig, settings: Settings) -> str:
    """Text that is equal for equal candidates; empty where the settings do not go together."""
    try:
        return str(sorted(relevant(with_settings(base, settings)).items()))
    except ValidationError:
        return ""


def _try(
    number: int,
    settings: Settings,
    candidate: CandidateConfig,
    ground: Ground,
    journal: Journal,
    progress: Progress | None,
) -> Trial:
    """Measure one candidate and keep the trial; what makes it fail is kept too, and the sweep goes on."""
    start = time.perf_counter()
    try:
        comparison, backbone, waited = ground.compare(candidate, progress)
        scores = comparison.scores(ground.development.labels)
        if not math.isfinite(scores[ground.selection.metric]):
            raise InputError(f"its {ground.selection.metric} is not a number")
    except InputError as error:
        seconds = time.perf_counter() - start
        trial = Trial(number=number, settings=settings, failure=str(error), seconds=seconds)
        journal.add(trial)
        return trial
    trial = Trial(
        number=number,
        settings=settings,
        scores=scores,
        chosen=comparison.chosen,
        milliseconds=backbone.info.milliseconds,
        gigamacs=backbone.info.gigamacs,
        megabytes=backbone.info.megabytes,
        seconds=time.perf_counter() - start - waited,
        waited=waited,
    )
    journal.add(trial, comparison)
    return trial
