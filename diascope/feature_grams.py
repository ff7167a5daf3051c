"""How alike are images to each set of features?

A linear head with a squared penalty knows images by their inner products alone, so hundreds of sets cost no more than
sums of small matrices: features are read once (Rakotomamonjy et al., SimpleMKL, JMLR 2008, on sums of kernels).
"""

from collections.abc import Sequence

import numpy as np

from diascope.feature_sets import FeatureSet
from diascope.features import FeatureBlock
from diascope.heads import BlockScaling


class Grams:
    """Inner products of images, summed over the first so many layers, for each image size, pooling and depth.

    Blocks are scaled as in front of a linear head, by all images: that knows no labels.
    """

    def __init__(self, features: np.ndarray, blocks: Sequence[FeatureBlock], sets: Sequence[FeatureSet]) -> None:
        """`features` (n, d) of all blocks; what the sets need takes 4 n^2 bytes for each size, pooling and depth."""
        self._sums: dict[tuple[int, str, int], np.ndarray] = {}
        layers = list(dict.fromkeys(block.layer for block in blocks))
        depths = {len(each.layers) for each in sets}
        parts = list(dict.fromkeys((block.size, block.pooling) for block in blocks))
        places = {(block.size, block.pooling, block.layer): block for block in blocks}
        for size, pooling in parts:
            total = np.zeros((len(features), len(features)), np.float32)
            for depth, layer in enumerate(layers, start=1):
                block = places[size, pooling, layer]
                scaled = _scaled(features[:, block.start : block.stop])
                total += scaled @ scaled.T
                if depth in depths:
                    self._sums[size, pooling, depth] = total.copy()

    def of(self, wanted: FeatureSet) -> np.ndarray:
        """Return the mean over the set's blocks (n, n): 1 on the diagonal."""
        depth = len(wanted.layers)
        parts = [self._sums[size, pooling, depth] for size in wanted.sizes for pooling in wanted.pooling]
        return np.asarray(np.sum(parts, axis=0), np.float32) / (len(parts) * depth)


def _scaled(block: np.ndarray) -> np.ndarray:
    return BlockScaling.of(block, [block.shape[1]])(np.array(block)).astype(np.float32)
