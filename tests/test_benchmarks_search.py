"""Does the benchmark of ways to choose feature sets measure on images that no choice has seen?"""

import itertools
from functools import partial

import numpy as np
import pytest
from tiny import CLASSES

from benchmarks.search import nested
from benchmarks.ways_to_choose import Taken, View
from diascope.development import Development
from diascope.features import FeatureBlock
from diascope.part_costs import PartCosts

N, WIDTH = 120, 4
PARTS = list(itertools.product((448, 224), ("last", "middle", "early"), ("avg", "max")))
BLOCKS = [
    FeatureBlock(size=size, layer=layer, pooling=pooling, start=i * WIDTH, stop=(i + 1) * WIDTH)
    for i, (size, layer, pooling) in enumerate(PARTS)
]
COSTS = PartCosts([frozenset({f"{block.size}"}) for block in BLOCKS], {"448": 4, "224": 1}, {}, 0, images=1)


def development() -> Development:
    groups = np.arange(N) // 2
    names = [f"{i}" for i in range(N)]
    return Development(names, groups % 2, groups.astype(str), np.zeros(N, bool), CLASSES)


def features(told: float = 0.0) -> np.ndarray:
    """Noise, but for the first feature of the first block."""
    x = np.random.default_rng(1).normal(size=(N, WIDTH * len(BLOCKS))).astype(np.float32)
    x[:, 0] += told * development().labels
    return x


def test_what_is_held_out_does_not_scale_what_is_fitted() -> None:
    fitted, every = np.arange(80), Taken(list(range(len(BLOCKS))))
    x = features()
    y = x.copy()
    y[80:] *= 50
    one, other = (View(each, BLOCKS, COSTS, fitted).gram(every)[:80, :80] for each in (x, y))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("told", "low", "high"), [(0.0, 0.4, 0.6), (6.0, 0.9, 1.0)])
def test_a_way_to_choose_is_worth_what_it_reaches_on_other_images(told: float, low: float, high: float) -> None:
    view_of = partial(View, features(told), BLOCKS, COSTS)
    rows = {row.way: row for row in nested(development(), view_of, ["best", "everything"], 3)}
    assert list(rows) == ["best", "everything"]
    assert all(low < row.auroc <= high and low < row.pooled <= high for row in rows.values())
    assert rows["best"].claimed >= rows["everything"].claimed
    assert rows["best"].claimed > rows["best"].auroc + 0.03 or told  # the best of noise promises what it does not keep
    assert rows["everything"].features == WIDTH * len(BLOCKS)
    assert rows["everything"].gigamacs == pytest.approx(5e-9)
