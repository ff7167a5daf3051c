"""What does a sweep over a candidate's settings find?"""

import shutil
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diascope.choice_bias import optimism_of
from diascope.comparison import worsened
from diascope.config import CandidateConfig, SelectionConfig
from diascope.development import Development
from diascope.features import FeatureSpec
from diascope.progress import Progress
from diascope.selection import best_for_its_cost, comparable, select
from diascope.sources import default_cache, storage_named
from diascope.sweep_config import BEST, SweepConfig
from diascope.sweep_features import Seen, SeenFeatures
from diascope.sweep_importance import importances
from diascope.sweep_journal import Journal, key_of
from diascope.sweep_results import Sweep, Trial
from diascope.sweep_space import with_settings
from diascope.sweep_trials import Ground, best_of, run_trials
from diascope.trained_candidate import TrainedCandidate, store_candidate

if TYPE_CHECKING:
    from diascope.dataset import Dataset

FOLDER = "sweeps"  # in the cache
OF_BASE = ("backbone", "features")  # folders of a candidate that a search has made


def chosen_base(config: SweepConfig, trained: list[TrainedCandidate], selection: SelectionConfig) -> TrainedCandidate:
    """Return the candidate whose settings are swept: the one that is named, or that wins the comparison."""
    results = [each.result for each in trained]
    name = select(results, selection)[0].name if config.candidate == BEST else config.candidate
    return next(each for each in trained if each.result.name == name)


def sweep_candidate(
    config: SweepConfig,
    base: TrainedCandidate,
    own: Mapping[str, Seen],
    dataset: "Dataset",
    groups: dict[str, str],
    selection: SelectionConfig,
    seed: int,
    weights: str,
    root: Path,
    progress: Progress | None = None,
    on_trial: Callable[[Trial, CandidateConfig], None] | None = None,
    cache: Path | None = None,
) -> tuple[TrainedCandidate, Sweep]:
    """Sweep a candidate's settings and store the best of them as a candidate in an empty folder.

    An interrupted sweep goes on where it stopped, from what it keeps in the cache.

    Parameters
    ----------
    own: networks and features that the pipeline has made, by the key of their spec, the base's as it uses them.
    weights: stands for the content of weights files.
    on_trial: is told of each trial and its candidate, in order, those of an earlier run included.
    cache: default DIASCOPE_CACHE, else ~/.cache/diascope.
    """
    development = Development.of(dataset, groups)
    places = (cache or default_cache()) / FOLDER
    images = {"data": dataset.info.fingerprint, "images": development.sample_ids, "weights": weights}
    seen = SeenFeatures(dataset, own, places / "features", key_of(images), seed)
    ground = Ground(base.candidate, dataset, development, selection, seed, seen)
    with storage_named(places):
        journal = Journal(places / key_of(images | _facts(config, ground, own))[:32])
        trials, resumed, ended = run_trials(config, ground, journal, progress, on_trial)
        result = _summed_up(config, base, ground, journal, trials).model_copy(
            update={"resumed": resumed, "ended": ended}
        )
        return _stored(result, base, ground, journal, root), result


def _facts(config: SweepConfig, ground: Ground, own: Mapping[str, Seen]) -> dict[str, Any]:
    """What the trials depend on beside the images; not the budget, so that a larger one goes on from there."""
    development, spec = ground.development, FeatureSpec.of(ground.base)
    return {
        "labels": development.labels.tolist(),
        "groups": development.groups.tolist(),
        "validation": development.validation.tolist(),
        "agreement": development.agreement.tolist(),
        "base": ground.base.model_dump(mode="json"),
        "blocks": [block.model_dump() for block in own[spec.key].backbone.info.blocks] if spec.key in own else [],
        "sweep": config.model_dump(mode="json", exclude={"trials", "minutes"}),
        "selection": ground.selection.model_dump(mode="json"),
        "seed": ground.seed,
    }


def _summed_up(
    config: SweepConfig, base: TrainedCandidate, ground: Ground, journal: Journal, trials: list[Trial]
) -> Sweep:
    metric = ground.selection.metric
    best, tied = best_of(trials, ground.selection)
    complete = [trial for trial in trials if not trial.failed]
    added = _optimism(complete, ground, journal) if len(complete) > 1 else 0.0
    if base.result.search:  # every trial is fitted to what that search has found
        added += base.result.search.optimism
    chosen = len(complete) > 1 or base.result.search is not None
    return Sweep(
        config=config,
        base=base.result.name,
        base_score=comparable(base.result, metric),
        metric=metric,
        trials=trials,
        best=best.number,
        tied=tied,
        resumed=0,
        ended="trials",
        seconds=sum(trial.seconds + trial.waited for trial in trials),
        corrected=worsened(best.scores[metric], added, metric) if chosen else None,
        importances=importances(config, trials, metric, ground.seed),
    )


def _optimism(complete: list[Trial], ground: Ground, journal: Journal) -> float:
    """How much too good the score of the trial that is taken is, because it was chosen by it."""
    rows, selection = journal.comparison(complete[0].number).rows, ground.selection
    choose = partial(
        best_for_its_cost, gigamacs=np.array([trial.gigamacs for trial in complete]), tolerance=selection.tolerance
    )
    logits = [journal.logits(trial.number) for trial in complete]
    labels, groups = ground.development.labels[rows], ground.development.groups[rows]
    return optimism_of(choose, logits, labels, groups, selection.metric, ground.seed)


def _stored(result: Sweep, base: TrainedCandidate, ground: Ground, journal: Journal, root: Path) -> TrainedCandidate:
    """Store the best trial as candidates are, with what of its network and features is not the pipeline's."""
    start = time.perf_counter()
    candidate = with_settings(ground.base, result.winner.settings)
    spec = FeatureSpec.of(candidate)
    seen = ground.seen.of(spec, not candidate.trains_network)
    lacks_features = ground.base.trains_network and not candidate.trains_network
    if lacks_features or spec.key != FeatureSpec.of(ground.base).key:
        seen.store(root)
    else:
        _take_over(base.root, root)
    plain = None
    if not candidate.trains_network and ground.selection.method == "cross_validation":
        with ground.fit(candidate, seen) as fit:
            plain = fit.compare(ground.development.folds(ground.selection, ground.seed, grouped=False))
    comparison = journal.comparison(result.best)
    seconds = result.winner.seconds + time.perf_counter() - start
    stored = store_candidate(
        candidate, seen.backbone, comparison, plain, ground.development, seconds, root, base=base.base
    )
    words = f"{stored.result.description}; best of {len(result.trials)} settings tried"
    tried = {"description": words, "trials": len(result.trials), "corrected": result.corrected}
    (root / "result.json").write_text(stored.result.model_copy(update=tried).model_dump_json(indent=1))
    (root / "sweep.json").write_text(result.model_dump_json(indent=1))
    return TrainedCandidate(root)


def _take_over(base: Path, root: Path) -> None:
    """Copy what a search has made for the base; where there was none, there is nothing."""
    for name in OF_BASE:
        if (base / name).is_dir():
            shutil.copytree(base / name, root / name)
    if (base / "columns.npy").is_file():
        shutil.copyfile(base / "columns.npy", root / "columns.npy")
