"""Which set of a network's features does best in cross-validation, for what it costs?"""

import time
from dataclasses import dataclass

import numpy as np

from diascope.config import CandidateConfig, SelectionConfig
from diascope.development import Development, Fold
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
    assert candidate.search is not None
    rows, shown = drawn(development, selection, seed)
    pairs = shown.folds(selection, seed)
    with one_thread():
        sets = feature_sets(backbone.info.blocks, seed)[: candidate.search.sets]
        grams = Grams(np.asarray(inputs[rows]), backbone.info.blocks, sets)
        tried: list[Tried] = []
        for each in sets:
            if tried and time.perf_counter() - start > 60 * candidate.search.minutes:
                break
            tried.append(Tried(each, out_of_fold(grams.of(each), shown, pairs, candidate, seed).logits))
            if progress:
                progress("feature sets", len(tried), len(sets))
        taken, search = _summed_up(tried, backbone, shown, pairs, selection, seed)
    return taken, search.model_copy(update={"seconds": time.perf_counter() - start})


def drawn(development: Development, selection: SelectionConfig, seed: int) -> tuple[np.ndarray, Development]:
    """Return the rows (m,) that sets are compared on, and those images: all, or some whole groups of very many.

    Of every class there are as many groups as folds, where it has as many: a share of few groups could be one alone.
    """
    labels, groups = development.labels, development.groups
    if len(labels) <= MOST_IMAGES:
        return np.arange(len(labels)), development
    held = make_split(labels, groups, MOST_IMAGES / len(labels), seed)
    rng = np.random.default_rng(seed)
    kinds = labels if selection.method == "cross_validation" else 2 * labels + development.validation
    for own in (kinds == kind for kind in np.unique(kinds)):
        others = np.setdiff1d(groups[own], groups[own & held])
        lacking = max(0, selection.folds - len(np.unique(groups[own & held])))
        held = held | np.isin(groups, rng.permutation(others)[:lacking])
    rows = np.flatnonzero(held)
    return rows, development.part(rows)


def _summed_up(
    tried: list[Tried],
    backbone: Backbone,
    development: Development,
    pairs: list[Fold],
    selection: SelectionConfig,
    seed: int,
) -> tuple[FeatureSet, Search]:
    held_out = np.concatenate([rows for _, rows in pairs])
    labels, groups = development.labels[held_out], development.groups[held_out]
    blocks, costs = backbone.info.blocks, PartCosts.of(backbone)
    sets = [each.features for each in tried]
    places = [each.places(blocks) for each in sets]
    gigamacs = np.array([costs.gigamacs(each) for each in places])
    choice = Choice(sets, [each.logits for each in tried], gigamacs, labels, groups, selection, seed)
    taken = choice.taken
    gains = choice.least_gain(taken)
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
