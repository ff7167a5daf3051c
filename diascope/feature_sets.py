"""Which sets of features are compared, of all that a network was asked for?

Not every subset: of 2^96 some are the best by luck alone. A set is some image sizes, the first so many layers, the
first so many poolings, so that a few numbers describe it and neighbours score alike.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diascope.features import FeatureBlock

DEPTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)  # how many layers a set has; also all of them

NAMED = 9  # layers; of more, the first and the last are


@dataclass(frozen=True)
class FeatureSet:
    """Image sizes (the largest first), layers and poolings, of which every combination is a block."""

    sizes: tuple[int, ...]
    layers: tuple[str, ...]
    pooling: tuple[str, ...]

    def places(self, blocks: Sequence[FeatureBlock]) -> list[int]:
        """Return which blocks of a network belong to the set."""
        return [
            place
            for place, block in enumerate(blocks)
            if block.size in self.sizes and block.layer in self.layers and block.pooling in self.pooling
        ]

    def columns(self, blocks: Sequence[FeatureBlock]) -> np.ndarray:
        """Return which columns of a network's features belong to the set."""
        return np.concatenate([np.arange(blocks[place].start, blocks[place].stop) for place in self.places(blocks)])

    def settings(self) -> dict[str, list[int] | list[str]]:
        """Return the keys of a candidate that sees this set."""
        return {"image_sizes": list(self.sizes), "layers": list(self.layers), "pooling": list(self.pooling)}


def everything(blocks: Sequence[FeatureBlock]) -> FeatureSet:
    """Return the set of all blocks of a network."""
    return FeatureSet(
        tuple(dict.fromkeys(block.size for block in blocks)),
        tuple(dict.fromkeys(block.layer for block in blocks)),
        tuple(dict.fromkeys(block.pooling for block in blocks)),
    )


def feature_sets(blocks: Sequence[FeatureBlock], seed: int) -> list[FeatureSet]:
    """Return all sets, in the order in which they are tried.

    First those of all image sizes and poolings, from all layers to one; then the others, drawn at random (Bergstra and
    Bengio, JMLR 2012), so that whatever part of them is tried has some of every kind.
    """
    whole = everything(blocks)
    sizes = [some for n in range(1, len(whole.sizes) + 1) for some in itertools.combinations(whole.sizes, n)]
    depths = sorted({min(depth, len(whole.layers)) for depth in (*DEPTHS, len(whole.layers))}, reverse=True)
    poolings = [whole.pooling[:n] for n in range(1, len(whole.pooling) + 1)]
    first = [FeatureSet(whole.sizes, whole.layers[:depth], whole.pooling) for depth in depths]
    every = (FeatureSet(s, whole.layers[:d], p) for s, d, p in itertools.product(sizes, depths, poolings))
    others = [each for each in every if each not in first]
    return first + [others[place] for place in np.random.default_rng(seed).permutation(len(others))]


def layers_in_words(layers: Sequence[str]) -> str:
    """Return the layers' names, or of many the first and the last."""
    few = len(layers) <= NAMED
    return ", ".join(layers) if few else f"{len(layers)} layers from {layers[0]} to {layers[-1]}"
