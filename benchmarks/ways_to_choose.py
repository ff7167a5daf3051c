"""In which ways can a set of features be chosen by its scores?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from diascope.calibration import softmax
from diascope.config import CandidateConfig, SelectionConfig
from diascope.development import Development
from diascope.feature_scoring import Tuned, out_of_fold, ridge
from diascope.feature_sets import FeatureSet, feature_sets
from diascope.features import FeatureBlock
from diascope.heads import RIDGE_SCALE, BlockScaling
from diascope.metrics import log_loss, macro_auroc
from diascope.part_costs import PartCosts
from diascope.selection import best_for_its_cost
from diascope.set_choice import Choice

BESIDE = ["Conv_1_bn", "block_16_project_BN"]  # layers of the sets made by hand that `auto` does not take
FOUR = ["Conv_1_bn", "block_16_depthwise_relu", "block_14_expand_relu", "block_10_expand_relu"]
NINE = ["last", *BESIDE, "block_16_depthwise_relu", *(f"block_{i}_expand_relu" for i in (16, 15, 14, 13, 10))]
STEPS = 10  # of greedy ways
DRAWN = 80  # random subsets, about as many as there are sets
CONFIG = CandidateConfig(name="any", backbone="MobileNetV2")


@dataclass(frozen=True)
class Taken:
    """Blocks, one that counts twice named twice, and whether also products of pairs of features count."""

    places: list[int]
    quadratic: bool = False


class View:
    """Inner products of all development images in each block of features, scaled by those that an outer fold fits."""

    def __init__(
        self, features: np.ndarray, blocks: Sequence[FeatureBlock], costs: PartCosts, fitted: np.ndarray
    ) -> None:
        self.blocks, self.costs = list(blocks), costs
        self._grams = [_gram(features[:, block.start : block.stop], fitted) for block in blocks]
        self.searched = [block for block in blocks if block.layer not in BESIDE]  # in the order of the blocks

    def gram(self, taken: Taken) -> np.ndarray:
        """Return the inner products over some blocks."""
        total = np.zeros_like(self._grams[0])
        for place in taken.places:
            total += self._grams[place]
        total /= len(taken.places)
        return ((total + 1) / 2) ** 2 if taken.quadratic else total

    def places(self, some: FeatureSet) -> list[int]:
        """Return where the set's blocks are."""
        return some.places(self.blocks)

    def width(self, taken: Taken) -> int:
        """Return how many features are taken."""
        return sum(self.blocks[place].stop - self.blocks[place].start for place in set(taken.places))


class Scores:
    """What the images that an outer fold fits say of sets, by folds of their own."""

    def __init__(self, view: View, shown: Development, rows: np.ndarray, seed: int) -> None:
        self.view, self.shown, self.seed = view, shown, seed
        self._rows = rows
        self._pairs = shown.folds(SelectionConfig(), seed)
        self.held_out = np.concatenate([held_out for _, held_out in self._pairs])
        self.labels = shown.labels[self.held_out]

    def tuned(self, taken: Taken) -> Tuned:
        """Return out-of-fold logits of these images."""
        gram = self.view.gram(taken)[np.ix_(self._rows, self._rows)]
        return out_of_fold(gram, self.shown, self._pairs, CONFIG, self.seed)

    def auroc(self, taken: Taken) -> float:
        """Return the macro AUROC of these images, out of fold."""
        return macro_auroc(self.labels, softmax(self.tuned(taken).logits))

    def loss(self, taken: Taken) -> float:
        """Return the log loss of these images, out of fold."""
        return log_loss(self.labels, softmax(self.tuned(taken).logits))

    def answers(self, taken: Taken, truth: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Return calibrated logits of other images, by a fit to all of these."""
        gram, tuned = self.view.gram(taken), self.tuned(taken)
        fitted, unseen = gram[np.ix_(self._rows, self._rows)], gram[np.ix_(others, self._rows)]
        answers: np.ndarray = ridge(fitted, unseen, truth, np.ones(len(self._rows)))[tuned.decay]
        return answers / tuned.temperature

    @cached_property
    def tried(self) -> "Tried":
        """What a search finds out."""
        sets = feature_sets(self.view.searched, self.seed)
        logits = [self.tuned(Taken(self.view.places(each))).logits for each in sets]
        scores = np.array([macro_auroc(self.labels, softmax(each)) for each in logits])
        return Tried(
            sets, logits, scores, np.array([self.view.costs.gigamacs(self.view.places(each)) for each in sets])
        )

    def of(self, place: int) -> Taken:
        """Return one of the search's sets."""
        return Taken(self.view.places(self.tried.sets[place]))


@dataclass(frozen=True)
class Tried:
    """The sets of a search with their logits, scores and costs."""

    sets: list[FeatureSet]
    logits: list[np.ndarray]
    scores: np.ndarray
    gigamacs: np.ndarray


def truth_of(labels: np.ndarray) -> np.ndarray:
    """Return what ridge regression is fitted to."""
    return RIDGE_SCALE * np.eye(labels.max() + 1)[labels]


def _gram(block: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    scaled = BlockScaling.of(block[fitted], [block.shape[1]])(np.array(block)).astype(np.float32)
    return scaled @ scaled.T


def _search(scores: Scores) -> Taken:
    """What a training run takes."""
    return scores.of(_choice(scores).taken)


def _by_layers(scores: Scores) -> Taken:
    """The best number of layers."""
    return scores.of(_choice(scores).by_layers)


def _choice(scores: Scores) -> Choice:
    t, groups = scores.tried, scores.shown.groups[scores.held_out]
    return Choice(t.sets, t.logits, t.gigamacs, scores.labels, groups, SelectionConfig(), scores.seed)


def _best(scores: Scores) -> Taken:
    return scores.of(int(scores.tried.scores.argmax()))


def _cheapest(scores: Scores) -> Taken:
    """The cheapest of those that score as the best."""
    return scores.of(_tied(scores, scores.tried.scores))


def _additive(scores: Scores) -> Taken:
    """The same by what image sizes, layers and poolings score on average: an additive model of the scores."""
    parts = [[each.sizes, len(each.layers), each.pooling] for each in scores.tried.sets]
    columns = [np.ones(len(parts))]
    for kind in range(3):
        columns += [np.array([float(p[kind] == value) for p in parts]) for value in {p[kind]: 0 for p in parts}]
    design = np.stack(columns, axis=1)
    return scores.of(_tied(scores, design @ np.linalg.pinv(design) @ scores.tried.scores))


def _tied(scores: Scores, judged: np.ndarray) -> int:
    return best_for_its_cost(judged, scores.tried.gigamacs, SelectionConfig().tolerance)


def _random(scores: Scores) -> Taken:
    """The best of subsets that have nothing in common (Bergstra and Bengio, JMLR 2012)."""
    rng, units = np.random.default_rng(scores.seed), _units(scores.view)
    drawn = [rng.choice(len(units), rng.integers(2, 17), replace=False) for _ in range(DRAWN)]
    subsets = [Taken([place for unit in some for place in units[unit]]) for some in drawn]
    return min(subsets, key=scores.loss)


def _greedy(again: bool) -> Callable[[Scores], Taken]:
    """Add what helps most, one layer at one size after another; `again`: also what is there (Caruana et al. 2004)."""

    def choose(scores: Scores) -> Taken:
        units, chosen, path = _units(scores.view), list[int](), list[tuple[float, Taken]]()
        for _ in range(STEPS):
            left = [unit for unit in range(len(units)) if again or unit not in chosen]
            tried = [Taken([place for each in [*chosen, unit] for place in units[each]]) for unit in left]
            losses = [scores.loss(each) for each in tried]
            best = int(np.argmin(losses))
            chosen.append(left[best])
            path.append((losses[best], tried[best]))
        return min(path, key=lambda each: each[0])[1]

    return choose


def _units(view: View) -> list[list[int]]:
    """The blocks of one layer at one size, with all poolings."""
    found: dict[tuple[int, str], list[int]] = {}
    for place, block in enumerate(view.blocks):
        if block in view.searched:
            found.setdefault((block.size, block.layer), []).append(place)
    return list(found.values())


def _fixed(
    sizes: Sequence[int] | None, layers: Sequence[str] | None, pooling: Sequence[str], quadratic: bool = False
) -> Callable[[Scores], Taken]:
    """Always the same set; None: all sizes, or all layers that a search has."""

    def choose(scores: Scores) -> Taken:
        blocks = scores.view.blocks
        known = layers or [block.layer for block in scores.view.searched]
        wanted = FeatureSet(tuple(sizes or {block.size for block in blocks}), tuple(known), tuple(pooling))
        return Taken(scores.view.places(wanted), quadratic)

    return choose


THREE = ("avg", "max", "std")
WAYS: dict[str, Callable[[Scores], Taken]] = {
    "last": _fixed([224], ["last"], ("avg", "max")),
    "four_224": _fixed([224], FOUR, THREE),
    "four": _fixed(None, FOUR, THREE),
    "nine": _fixed(None, NINE, THREE),
    "everything": _fixed(None, None, THREE),
    "everything_224": _fixed([224], None, THREE),
    "everything_quadratic": _fixed(None, None, THREE, quadratic=True),
    "nine_quadratic": _fixed(None, NINE, THREE, quadratic=True),
    "search": _search,
    "layers": _by_layers,
    "additive": _additive,
    "best": _best,
    "cheapest": _cheapest,
    "random": _random,
    "greedy": _greedy(again=False),
    "greedy_again": _greedy(again=True),
}
