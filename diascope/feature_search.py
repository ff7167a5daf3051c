"""Which set of a network's features does best in cross-validation, for what it costs?"""

import time
from dataclasses import dataclass

import numpy as np

from diascope.config import CandidateConfig, SelectionConfig
from diascope.development import Development
from diascope.feature_grams import Grams
from diascope.feature_scoring import out_of_fold
from diascope.feature_sets import FeatureSet, feature_sets
from diascope.features import Backbone
from diascope.heads import one_thread
from diascope.part_costs import PartCosts
from diascope.progress import Progress
from diascope.results import Search, TriedSet
from diascope.set_choice import Choice
from diascope.splits import make_split

MOST_IMAGES = 1_200  # that sets are compared on; of more, whole groups are drawn


@dataclass(frozen=True)
class Tried:
    """A set with its out-of-fold logits (m, n_classes)."""

    features: FeatureSet
    logits: np.ndarray


def search_features(
    candidate: CandidateConfig,
    backbone: Backbone,
    inputs: np.ndarray,
    development: Development,
    selection: SelectionConfig,
    seed: int,
    progress: Progress | None = None,
) -> tuple[FeatureSet, Search]:
    """Try sets of the backbone's features (n, d) until the budget is spent; return the one to take, and the way to it.

    What is taken depends on how many sets were tried, and so on the machine's speed where `minutes` ends the search.
    """
    start = time.perf_counter()
    rows, shown = drawn(development, seed)
    with one_thread():
        tried = try_sets(candidate, backbone, np.asarray(inputs[rows]), shown, selection, seed, start, progress)
        taken, search = _summed_up(tried, backbone, shown, selection, seed)
    return taken, search.model_copy(update={"seconds": time.perf_counter() - start})


def drawn(development: Development, seed: int) -> tuple[np.ndarray, Development]:
    """Return the rows (m,) that sets are compared on, and those images: all, or some whole groups of very many."""
    n = len(development.labels)
    if n <= MOST_IMAGES:
        return np.arange(n), development
    rows = np.flatnonzero(make_split(development.labels, development.groups, MOST_IMAGES / n, seed))
    return rows, development.part(rows)


def try_sets(
    candidate: CandidateConfig,
    backbone: Backbone,
    inputs: np.ndarray,
    development: Development,
    selection: SelectionConfig,
    seed: int,
    start: float,
    progress: Progress | None = None,
) -> list[Tried]:
    """Return sets with their out-of-fold logits, one at least, until the budget is spent that began at `start`."""
    assert candidate.search is not None
    sets = feature_sets(backbone.info.blocks, seed)[: candidate.search.sets]
    grams = Grams(inputs, backbone.info.blocks, sets)
    pairs = development.folds(selection, seed)
    tried: list[Tried] = []
    for each in sets:
        if tried and time.perf_counter() - start > 60 * candidate.search.minutes:
            break
        tried.append(Tried(each, out_of_fold(grams.of(each), development, pairs, candidate, seed).logits))
        if progress:
            progress("feature sets", len(tried), len(sets))
    return tried


def _summed_up(
    tried: list[Tried], backbone: Backbone, development: Development, selection: SelectionConfig, seed: int
) -> tuple[FeatureSet, Search]:
    held_out = np.concatenate([rows for _, rows in development.folds(selection, seed)])
    labels, groups = development.labels[held_out], development.groups[held_out]
    blocks, costs = backbone.info.blocks, PartCosts.of(backbone)
    sets = [each.features for each in tried]
    places = [each.places(blocks) for each in sets]
    gigamacs = np.array([costs.gigamacs(each) for each in places])
    choice = Choice(sets, [each.logits for each in tried], gigamacs, labels, groups, selection, seed)
    taken, gains = choice.taken, choice.least_gain(choice.taken)
    described = [
        TriedSet(
            image_sizes=list(each.sizes),
            layers=list(each.layers),
            pooling=list(each.pooling),
            features=sum(blocks[place].stop - blocks[place].start for place in own),
            score=choice.scores[i],
            gain=gains[i] if np.isfinite(gains[i]) else None,
            gigamacs=gigamacs[i],
            milliseconds=costs.latency(own),
        )
        for i, (each, own) in enumerate(zip(sets, places, strict=True))
    ]
    return sets[taken], Search(
        metric=selection.metric,
        sets=described,
        taken=taken,
        known=len(feature_sets(blocks, seed)),
        images=len(development.labels),
        optimism=choice.optimism,
        seconds=0,
    )
